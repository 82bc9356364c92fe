"""A service process of LinHub under the launcher."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.embedded import ports
from deploy.embedded.part import Part

READY_PATH = "/health/ready"


class Service(Part):
    """`health_port` serves /health/ready, 503 with {"why"} while it waits; None: it is ready while it lives."""

    stop_timeout_s = 15.0

    def __init__(
        self, name: str, home: Path, argv: Sequence[str], environment: Mapping[str, str], health_port: int | None
    ) -> None:
        super().__init__(name, home)
        self.argv = argv
        self.health_port = health_port
        self._environment = environment

    def command(self, info_fd: int | None) -> Sequence[str]:
        return self.argv

    def environment(self) -> Mapping[str, str]:
        return self._environment

    def waiting_for(self) -> str | None:
        return health(self.health_port) if self.health_port else None


def health(port: int, timeout_s: float = 2.0) -> str | None:
    """None when the service there is ready, otherwise what it says it is waiting for."""
    request = urllib.request.Request(f"http://{ports.LOOPBACK}:{port}{READY_PATH}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout_s):
            return None
    except urllib.error.HTTPError as error:
        try:
            return str(json.loads(error.read()).get("why", f"HTTP {error.code}"))
        except (ValueError, AttributeError, OSError):
            return f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        return f"no answer at {ports.LOOPBACK}:{port} ({getattr(error, 'reason', error)})"
