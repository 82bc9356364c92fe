"""TimescaleDB and mosquitto without Docker: Debian packages in a private root, run under bubblewrap on loopback."""
