"""Who somebody is: tokens, sessions, passwords, lock-outs and accounts; `services.api.auth` puts them together."""
