"""The servers a benchmark runs against: those that the environment names, else its own, gone afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.stack import Stack
from services.adapters.broker_identity import replace_file, secret_hash

ROOT = Path(__file__).resolve().parents[1] / ".linhub" / "root"
_ACCOUNT = "svc-bench"
_ACL = f"""
user {_ACCOUNT}
topic readwrite sc/#
"""


@dataclass(frozen=True, slots=True)
class BenchServers:
    """`database_url` may create databases; `load_url` may publish as any device."""

    database_url: str
    ingest_url: str
    load_url: str
    device_url: str | None = None
    """Where devices log in with secrets of their own; None where the servers were there before."""
    admit: Callable[[Mapping[str, str]], None] | None = None
    """Lets devices (id → secret) log in; the broker knows them soon after."""
    stack: Stack | None = None
    """To stop and start them; None where the servers were there before."""
    alerts_url: str | None = None
    """The alert engine's own account, which alone may speak to devices; None where the servers were there before."""


@contextmanager
def bench_servers() -> Iterator[BenchServers]:
    """LINHUB_DATABASE_URL with LINHUB_MQTT_URL, else a private database and broker. Call from the main thread."""
    database_url, mqtt_url = os.environ.get("LINHUB_DATABASE_URL"), os.environ.get("LINHUB_MQTT_URL")
    if database_url and mqtt_url:
        yield BenchServers(database_url, mqtt_url, mqtt_url)
        return
    with (
        tempfile.TemporaryDirectory(prefix="linhub-bench-") as home,
        Stack(Path(home), secret_hash, root=ROOT, extra_acl=_ACL) as stack,
    ):
        stack.ensure_root()
        started = stack.start_servers()

        def admit(devices: Mapping[str, str]) -> None:
            file = stack.mosquitto.password_file
            lines = "".join(f"{device}:{secret_hash(secret)}\n" for device, secret in devices.items())
            replace_file(file, file.read_bytes() + lines.encode(), 0o600)
            stack.reload_broker()

        yield BenchServers(
            started.maintenance_url,
            started.mqtt_url("svc-ingest"),
            started.mqtt_url(_ACCOUNT),
            started.device_url,
            admit,
            stack,
            started.mqtt_url("svc-alerts"),
        )
