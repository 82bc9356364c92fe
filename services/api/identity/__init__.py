"""Who somebody is: tokens, sessions, passwords, lock-outs and accounts; `auth` puts them together."""
