"""The other ways in: keys, clients (OAuth 2.0), single sign-on (OpenID Connect), and screens."""
