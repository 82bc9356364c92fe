"""Identity at scale: devices provisioned, admitted, connected and shut out at a real broker, timed.

`python -m bench.identity --devices 100000`. Prints one table and writes bench/results/identity.json.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.table import Table

from deploy.embedded.broker import Mosquitto, connect
from deploy.embedded.postgres import DATABASE
from deploy.embedded.stack import Servers, Stack
from services.adapters.broker_identity import IDENTITY_ACCOUNT, password_file, replace_file, secret_hash
from services.adapters.migrate import migrate
from services.adapters.registry import provision
from services.cli.init import password_variable
from services.domain.devices import CATALOGUE
from services.ingest.registry import kind_spec
from services.ingest.registry_keeper import load_registry

ROOT = Path(__file__).resolve().parents[1] / ".linhub" / "root"
RESULTS = Path(__file__).with_name("results") / "identity.json"
COMMUNITY = "bench-identity"
SPARE_FILES = 400
PER_ADDRESS = 20_000
"""Connections from one 127.0.0.x: well under the 28,000 ephemeral ports of an address."""
POLL_S = 0.2
"""How often `linhub up` looks whether the password file changed."""

say = Console(stderr=True, highlight=False).print


@dataclass
class Figures:
    rows: dict[str, Any] = field(default_factory=dict)

    def add(self, what: str, value: Any) -> None:
        self.rows[what] = value
        say(f"{what}: {value}")


def text(value: str) -> bytes:
    raw = value.encode()
    return len(raw).to_bytes(2, "big") + raw


def packet(kind: int, body: bytes) -> bytes:
    size, left = b"", len(body)
    while True:
        size += bytes([left % 128 | (128 if left > 127 else 0)])
        left //= 128
        if not left:
            return bytes([kind]) + size + body


def connect_packet(user: str, secret: str) -> bytes:
    return packet(
        0x10,
        text("MQTT") + bytes((4, 0b11000010)) + (600).to_bytes(2, "big") + b"".join(map(text, (user, user, secret))),
    )


def rss_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return round(int(status.split("VmRSS:")[1].split()[0]) / 1024, 1)


def write_list(path: Path, count: int, first: int = 0) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        sheet = csv.writer(file)
        sheet.writerow(("id", "community", "kind", "place", "floor", "x", "y"))
        for number in range(first, first + count):
            place = f"{number % 40 + 1} 号楼 {number % 30 + 1} 层"
            sheet.writerow(
                (f"bi-{number:07d}", COMMUNITY, "smoke_detector", place, number % 30, number % 500, number % 300)
            )


def run_import(url: str, path: Path) -> tuple[float, Any, dict[str, Any]]:
    """(seconds, what the process used, what it says)."""
    command = [sys.executable, "-m", "services.cli.main", "device", "import", str(path), "--json"]
    began = time.monotonic()
    with subprocess.Popen(command, env={**os.environ, "LINHUB_DATABASE_URL": url}, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("the import failed")
    return time.monotonic() - began, usage, json.loads(told)


def secrets_of(path: Path) -> dict[str, str]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["id"]: row["secret"] for row in csv.DictReader(file)}


class Pinger:
    """One device that publishes without a pause between PUBACKs: the longest wait for one is the broker's pause."""

    def __init__(self, port: int, user: str, secret: str) -> None:
        self._port, self._user, self._secret = port, user, secret
        self.longest_s = 0.0
        self.count = 0

    async def run(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(connect_packet(self._user, self._secret))
        answer = await reader.readexactly(4)
        assert answer[3] == 0, answer
        body = text(f"sc/{COMMUNITY}/{self._user}/up/telemetry") + b"\x00\x01" + b"{}"
        while True:
            began = time.perf_counter()
            writer.write(packet(0x32, body))
            await reader.readexactly(4)
            self.longest_s = max(self.longest_s, time.perf_counter() - began)
            self.count += 1
            await asyncio.sleep(0.001)

    def since(self) -> float:
        longest, self.longest_s = self.longest_s, 0.0
        return longest


async def may_log_in(port: int, user: str, secret: str) -> None:
    while await asyncio.to_thread(connect, port, user, secret) != 0:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def open_many(port: int, secrets: dict[str, str], names: list[str]) -> list[tuple[Any, Any]]:
    gate = asyncio.Semaphore(200)

    async def one(number: int, name: str) -> tuple[Any, Any]:
        async with gate:
            source = (f"127.0.0.{2 + number // PER_ADDRESS}", 0)
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=source, limit=1024)
            writer.write(connect_packet(name, secrets[name]))
            answer = await reader.readexactly(4)
            assert answer[3] == 0, f"{name} is refused: {answer!r}"
            return reader, writer

    return list(await asyncio.gather(*(one(number, name) for number, name in enumerate(names))))


async def loop_pause(work: Any) -> tuple[float, float, Any]:
    """(seconds, longest time the event loop stood still, result)."""
    longest, last, stop = 0.0, time.perf_counter(), False

    async def tick() -> None:
        nonlocal longest, last
        while not stop:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.05)
    longest, began = 0.0, time.perf_counter()
    result = await work
    took = time.perf_counter() - began
    await asyncio.sleep(0.005)
    stop = True
    await ticking
    return took, longest, result


async def start_watcher(url: str, servers: Servers, broker: Mosquitto) -> asyncio.subprocess.Process:
    """A process of its own, as `linhub up` has it."""
    passwords = {password_variable(account): secret for account, secret in servers.secrets.items()}
    mqtt = f"mqtt://{servers.mqtt_host}:{servers.mqtt_port}"
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.cli.main", "identity", "--watch", "--file", str(broker.password_file)),
        env={**os.environ, "LINHUB_DATABASE_URL": url, "LINHUB_MQTT_URL": mqtt, **passwords},
    )


@contextlib.contextmanager
def private_stack() -> Iterator[tuple[Stack, Servers]]:
    with (
        tempfile.TemporaryDirectory(prefix="linhub-bench-") as home,
        Stack(Path(home), secret_hash, root=ROOT) as stack,
    ):
        stack.ensure_root()
        yield stack, stack.start_servers()


async def measure(stack: Stack, servers: Servers, devices: int, connections: int, figures: Figures) -> None:
    url, folder = servers.database_url, stack.home
    await migrate(url)
    db = await asyncpg.connect(url)
    await db.execute("INSERT INTO street VALUES ('s', 'c', 'd', 'n')")
    await db.execute(
        "INSERT INTO community (id, street_id, name, partition, latitude, longitude, households, residents) "
        "VALUES ($1, 's', 'n', 3, 30, 120, 0, 0)",
        COMMUNITY,
    )
    broker = stack.mosquitto
    pid = broker.processes[0].pid
    figures.add("broker RSS, nobody known, MB", rss_mb(pid))

    path = folder / "devices.csv"
    write_list(path, devices)
    took, used, said = await asyncio.to_thread(run_import, url, path)
    assert said["added"] == said["secrets"] == devices
    figures.add(f"import of {devices} devices, s", round(took, 1))
    figures.add("  devices a second", round(devices / took))
    figures.add("  CPU of the importing process, s", round(used.ru_utime + used.ru_stime, 1))
    figures.add("  its peak memory, MB", round(used.ru_maxrss / 1024))
    took, _, said = await asyncio.to_thread(run_import, url, path)
    assert said["unchanged"] == devices
    figures.add("import of the same list again, s", round(took, 1))
    secrets = secrets_of(folder / "devices.secrets.csv")

    services = {name: hashed for name, hashed in broker.hashes.items() if name != IDENTITY_ACCOUNT}
    began = time.perf_counter()
    file = await password_file(db, services)
    read_s = time.perf_counter() - began
    began = time.perf_counter()
    replace_file(broker.password_file, file.content, 0o600)
    figures.add("password file: registry read and lines made, s", round(read_s, 2))
    figures.add("password file: written and synced, s", round(time.perf_counter() - began, 3))
    figures.add("password file, MB", round(len(file.content) / 1e6, 1))

    names = sorted(secrets)
    newest = names[-1]
    began = time.perf_counter()
    broker.reload()
    await may_log_in(servers.device_port, newest, secrets[newest])
    figures.add("reload until the last device can log in, s", round(time.perf_counter() - began, 3))
    known = rss_mb(pid)
    figures.add(f"broker RSS, {devices} devices known, MB", known)

    pinger = Pinger(servers.device_port, names[-1], secrets[names[-1]])
    pinging = asyncio.create_task(pinger.run())
    await asyncio.sleep(1)
    pinger.since()
    await asyncio.sleep(2)
    figures.add("longest PUBACK, undisturbed, ms", round(pinger.since() * 1000, 1))
    broker.reload()
    await asyncio.sleep(3)
    figures.add("longest PUBACK in a reload, 1 connection, ms", round(pinger.since() * 1000, 1))

    began = time.perf_counter()
    before = rss_mb(pid)
    links = await open_many(servers.device_port, secrets, names[:connections])
    figures.add("connections used", len(links))
    figures.add("  opened in, s", round(time.perf_counter() - began, 1))
    after = rss_mb(pid)
    each = (after - before) * 1024 / len(links)
    figures.add(f"broker RSS with {len(links)} connections, MB", after)
    figures.add("  a connection, KB", round(each, 2))
    figures.add(f"  extrapolated to {devices} connections, MB", round(before + each * devices / 1024))
    pinger.since()
    broker.reload()
    await asyncio.sleep(3)
    figures.add(f"longest PUBACK in a reload, {len(links)} connections, ms", round(pinger.since() * 1000, 1))
    closed = sum(reader.at_eof() for reader, _ in links)
    figures.add("connections that a reload cost", closed)

    async def supervise() -> None:
        while True:
            broker.reload_if_changed()
            await asyncio.sleep(POLL_S)

    tasks = [asyncio.create_task(supervise())]
    watcher = await start_watcher(url, servers, broker)
    while IDENTITY_ACCOUNT.encode() not in broker.password_file.read_bytes()[:2000]:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    await asyncio.sleep(4)
    cuts: list[float] = []
    for reader, _ in links[100:105]:
        name = names[100 + len(cuts)]
        began = time.perf_counter()
        await provision.revoke(db, [name], actor="bench")
        assert await asyncio.wait_for(reader.read(), 60) == b""
        cuts.append(round(time.perf_counter() - began, 2))
    figures.add("revoked → cut, s, five times", cuts)
    pinger.since()
    admissions = []
    for number in range(3):
        write_list(folder / f"one-{number}.csv", 1, devices + number)
        await asyncio.to_thread(run_import, url, folder / f"one-{number}.csv")
        began = time.perf_counter()
        name, secret = next(iter(secrets_of(folder / f"one-{number}.secrets.csv").items()))
        await may_log_in(servers.device_port, name, secret)
        admissions.append(round(time.perf_counter() - began, 2))
    figures.add("imported → may log in, s, three times", admissions)
    figures.add("longest PUBACK meanwhile, ms", round(pinger.since() * 1000, 1))
    watcher.terminate()
    await watcher.wait()
    for task in (*tasks, pinging):
        task.cancel()
    await asyncio.gather(*tasks, pinging, return_exceptions=True)
    for _, writer in links:
        writer.close()

    kinds = {kind.name: kind_spec(kind) for kind in CATALOGUE}
    took, pause, registry = await loop_pause(load_registry(db, kinds))
    figures.add(f"ingest reads {len(registry.devices)} devices, s", round(took, 2))
    figures.add("  longest pause of its event loop, ms", round(pause * 1000, 1))
    took, pause, again = await loop_pause(load_registry(db, kinds, known=registry))
    assert again is registry
    figures.add("ingest reads them again, nothing changed, s", round(took, 2))
    figures.add("  longest pause of its event loop, ms ", round(pause * 1000, 1))
    await db.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=0, help="0: as many as the file limit allows")
    given = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = hard - SPARE_FILES
    connections = min(given.connections or room, room, given.devices - 1)
    figures = Figures()
    with private_stack() as (stack, servers):
        assert servers.database_url.endswith(DATABASE)
        asyncio.run(measure(stack, servers, given.devices, connections, figures))
    figures.add("cores", os.cpu_count())
    table = Table("figure", "value", title=f"identity at {given.devices} devices")
    for name, value in figures.rows.items():
        table.add_row(name, str(value))
    Console(width=110).print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(figures.rows, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
