"""Free ports on loopback."""

from __future__ import annotations

import random
import socket
import weakref

LOOPBACK = "127.0.0.1"
_FIRST, _LAST = 20000, 32000
"""Below the range from which the kernel lends ports to outgoing connections, so that none is taken meanwhile."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now; connections of an earlier server that still linger do not count."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def answers(port: int, host: str = LOOPBACK, timeout_s: float = 0.5) -> bool:
    try:
        with socket.create_connection((host, port), timeout=timeout_s):
            return True
    except OSError:
        return False


class Reservations:
    """Ports this process means to use. Every launcher on the machine respects them, also before anything listens."""

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}
        # Also for whoever keeps them for as long as the process lives.
        weakref.finalize(self, _let_go, self._held)

    def choose(self, *preferred: int | None) -> int:
        """The first of `preferred` that is free, otherwise any free port. Raises OSError if there is none."""
        wanted = [port for port in preferred if port]
        for port in [*wanted, *random.sample(range(_FIRST, _LAST), 400)]:
            if port not in self._held and self._reserve(port):
                return port
        raise OSError("no free port on loopback")

    def _reserve(self, port: int) -> bool:
        claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            claim.bind(f"\0linhub-port-{port}")
        except OSError:
            claim.close()
            return False
        if not is_free(port):
            claim.close()
            return False
        self._held[port] = claim
        return True

    def release(self) -> None:
        _let_go(self._held)


def _let_go(held: dict[int, socket.socket]) -> None:
    for claim in held.values():
        claim.close()
    held.clear()
