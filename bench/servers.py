"""The servers a benchmark runs against: those that the environment names, else its own, gone afterwards."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.stack import Stack
from services.adapters.broker_identity import secret_hash

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
        yield BenchServers(started.maintenance_url, started.mqtt_url("svc-ingest"), started.mqtt_url(_ACCOUNT))
