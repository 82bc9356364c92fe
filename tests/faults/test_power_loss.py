"""Fault 9: whatever is acknowledged, to a device or to the broker, was on disk before; read from the system calls."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from deploy.embedded.postgres import DATABASE
from deploy.embedded.processes import descendants
from tests.conftest import Servers, with_database
from tests.factory import put_community, small_community
from tests.fault_kit import IngestProcess, Stubborn, all_acknowledged, all_stored, assert_each_once
from tests.fault_rows import CAMPAIGN, note, row
from tests.fault_trace import Call, Order, parse, traced
from tests.ingest_kit import Wire, client_prefix, database, until

BATCHES = 100 if CAMPAIGN else 15


@row(9)
async def test_nothing_is_acknowledged_before_the_log_of_the_database_is_on_disk(
    breakable: Servers, tmp_path: Path
) -> None:
    assert breakable.stack is not None
    postgres = breakable.stack.postgres
    url = with_database(breakable.database_url, DATABASE)
    await put_community(url, small_community("home"))
    wire = Wire(breakable.mqtt.url)
    said = Stubborn(wire, "home", ["home-environment-1"], "home-sos_button-1")
    process = IngestProcess(url, breakable.mqtt.account_url("svc-ingest"), "t-home")
    trace = tmp_path / "trace"
    try:
        async with database(url) as db, process.running() as ingest:
            await ingest.ready()
            root = postgres.processes[0].pid
            async with traced([root, *descendants(root), ingest.pid], trace):
                for _ in range(BATCHES):
                    said.say(20)
                    await asyncio.sleep(0.05)
                await until(lambda: all_stored(db, said))
                await until(lambda: all_acknowledged(said))
                # The broker is told last of all; whoever stops in order has done so.
                await ingest.stop()
            await assert_each_once(db, said)
    finally:
        wire.close()
    # What the ear for strays hears a second time is acknowledged there at once: it is stored from its own session.
    strays = ports_of(f"{client_prefix(url)}-stray", breakable.stack.mosquitto.log)
    assert strays, "the broker's log does not tell which connection is whose"
    order = Order(postgres.port, breakable.mqtt.port, said.sent, strays)
    order.look(parse(trace.read_text(errors="replace").splitlines()))
    promised = {kind: len(found) for kind, found in order.promised.items()}
    violations = {kind: len(order.violations(kind)) for kind in order.promised}
    note(syncs=len(order.syncs), acks=promised["ack"], pubacks=promised["puback"])
    note(violations=sum(violations.values()))
    assert promised == {"ack": len(said.sent), "puback": len(said.sent)}, "the trace is not whole"
    assert violations == {"ack": 0, "puback": 0}


def ports_of(client: str, log: Path) -> set[int]:
    """The ports that a client came from, by mosquitto's log."""
    came = re.compile(rf"New client connected from [0-9.]+:(\d+) as {re.escape(client)} ")
    return {int(port) for port in came.findall(log.read_text(errors="replace"))}


def test_trace_of_a_promise_before_the_sync_is_a_violation() -> None:
    """And so is one whose sync began before the commit: it was of another's."""
    ts = 1_700_000_000_000
    body = b"\x00\x05sc/ab\x00\x07\x00" + b'{"id": "m0", "ts": %d}' % ts

    def calls(*, sync: tuple[int, int]) -> list[Call]:
        broker, base = "TCP:[127.0.0.1:5->127.0.0.1:1883]", "TCP:[127.0.0.1:6->127.0.0.1:5432]"
        found = [
            Call("recvfrom", broker, bytes((0x32, len(body))) + body, 1, 1),
            Call("sendto", base, ts.to_bytes(8, "big"), 2, 2),
            Call("sendto", base, b"Q\x00\x00\x00\x0cCOMMIT;\x00", 4, 4),
            Call("fdatasync", "/data/pg_wal/000000010000000000000001", b"", *sync),
            Call("sendto", broker, b"\x40\x02\x00\x07", 8, 8),
        ]
        return sorted(found, key=lambda call: call.ended)

    for sync, broken in (((5, 6), []), ((5, 9), [ts]), ((3, 6), [ts])):
        order = Order(5432, 1883, {"m0": ("d", ts)})
        order.look(calls(sync=sync))
        assert order.violations("puback") == broken, sync


def test_trace_puts_the_halves_of_an_interrupted_call_together() -> None:
    lines = [
        "12 fdatasync(5</x/pg_wal/1> <unfinished ...>",
        '13 sendto(7<TCP:[127.0.0.1:5->127.0.0.1:1883]>, "@\\2\\0\\7", 4, 0, NULL, 0) = 4',
        "12 <... fdatasync resumed>)           = 0",
    ]
    assert [(c.name, c.target, c.data, c.began, c.ended) for c in parse(lines)] == [
        ("sendto", "TCP:[127.0.0.1:5->127.0.0.1:1883]", b"@\x02\x00\x07", 1, 1),
        ("fdatasync", "/x/pg_wal/1", b"", 0, 2),
    ]
