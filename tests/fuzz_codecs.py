"""Throws mutated golden cases at every wire format: `python -m tests.fuzz_codecs --count 1000000`.

What breaks a promise (raises, answers nothing, a number that is none, a name that cannot be printed) is written to
tests/golden/codecs/crashes, where the suite replays it for ever.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from services.domain.codecs import CODECS
from services.domain.codecs.topic import CHANNELS
from services.domain.messages import MAX_PAYLOAD_BYTES, Rejected, Topic
from tests.codec_kit import CRASHES, Case, golden, look, topic

SLOW_S = 1.0
"""CPU seconds; the largest message that is taken at all must be done well within."""

_LONGEST = 2 * MAX_PAYLOAD_BYTES
"""Longer ones are refused by their length alone."""
_BARE = ("@1e999", "@-1e999", "@1e309", "@NaN", "@-Infinity", "@1E400", "@0e-999999", "@9" + "9" * 400)
"""What stands behind the @ is written bare: numbers that no JSON library would write."""
_NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.1, -0.0, 1e308, -1e308, 1e-320, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**40,
    1700000000, 1700000000000, 1700000000000000, 1700000000000000000, 10**20, "", " ", "x", "0", "1e400", "NaN", "ON",
    "\x00", "\ud83d\ude00", "\u202e", "2026-13-45T99:99:99Z", "20151212T121212Z", "2026-11-22T08:00:00+99:99", "../..",
    "a" * 5000, [], {}, [[]], [{}], {"": 1}, {"value": 1, "time": None}, {"value": {"value": 1}, "time": "x"},
    [1, "a", None, {"b": [2]}], {"ts": -1, "values": {}}, {"identity": None}, {"identity": {"deviceName": 7}},
)  # fmt: skip
_TAILS = (
    "", "/", "tele/SENSOR", "tele/LWT", "stat/POWER", "cmnd/X", "bridge/state", "a/b/availability", "a/set", "status",
    "sys/p/d/thing/event/property/post", "sys/p/d/thing/event/x/post", "$sys/p/d/thing/pack/post",
    "$oc/devices/x/sys/events/up",
    "$thing/up/event/p/d", "v1/gateway/telemetry", "v1/gateway/connect",
    "application/1/device/0101010101010101/event/up",
    "application/1/device/zz/event/location", "device", "event/up", "//", "\x00", "\u0085", "ü/" * 200,
)  # fmt: skip


def mutate(rng: random.Random, case: Case, others: list[Case]) -> tuple[Topic, bytes]:
    """A message that is nearly the case's, in one to four ways not."""
    payload, where = case.payload, case.topic
    if rng.random() < 0.15:
        where = topic(rng.choice(CHANNELS), rng.choice(_TAILS))
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        payload = rng.choice(_WAYS)(rng, payload, others)
    if case.codec in _SEALED and rng.random() < 0.8:
        payload = _SEALED[case.codec](payload)
    return where, payload[:_LONGEST]


def _flip(rng: random.Random, payload: bytes, _: list[Case]) -> bytes:
    changed = bytearray(payload)
    for _i in range(rng.randint(1, 8)):
        if changed:
            changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _bytes(rng: random.Random, payload: bytes, _: list[Case]) -> bytes:
    changed = bytearray(payload)
    for _i in range(rng.randint(1, 8)):
        if changed:
            changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF, rng.randrange(256)))
    return bytes(changed)


def _cut(rng: random.Random, payload: bytes, _: list[Case]) -> bytes:
    return payload[: rng.randint(0, len(payload))] if rng.random() < 0.7 else payload[rng.randint(0, len(payload)) :]


def _twice(rng: random.Random, payload: bytes, _: list[Case]) -> bytes:
    at, end = sorted((rng.randint(0, len(payload)), rng.randint(0, len(payload))))
    return payload[:end] + payload[at:end] * rng.randint(1, 3) + payload[end:]


def _splice(rng: random.Random, payload: bytes, others: list[Case]) -> bytes:
    other = rng.choice(others).payload
    return payload[: rng.randint(0, len(payload))] + other[rng.randint(0, len(other)) :]


def _shape(rng: random.Random, payload: bytes, others: list[Case]) -> bytes:
    """Another value, another type, a name less, a name more, somewhere in the document."""
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        return _flip(rng, payload, others)
    spots = _spots(document)
    if not spots:
        return json.dumps(rng.choice(_NASTY)).encode()
    holder, key = rng.choice(spots)
    how = rng.random()
    if how < 0.15:
        holder[key] = rng.choice(_BARE)
    elif how < 0.6:
        holder[key] = rng.choice(_NASTY)
    elif how < 0.75:
        del holder[key]
    elif how < 0.85:
        holder[key] = [holder[key]] * rng.randint(1, 5)
    elif how < 0.95 and isinstance(holder, dict):
        holder[rng.choice(("value", "time", "ts", "", "a\x00b", "n" * 300, "values", "v", "bn"))] = rng.choice(_NASTY)
    else:
        holder[key] = rng.choice(spots)[0] if len(spots) < 200 and len(payload) < 2000 else None
    try:
        text = json.dumps(document, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
        return re.sub(rb'"@([^"]*)"', rb"\1", text)
    except (ValueError, RecursionError):
        return payload


def _spots(document: Any) -> list[tuple[Any, Any]]:
    spots: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting and len(spots) < 2000:
        node = waiting.pop()
        if isinstance(node, dict):
            spots += [(node, key) for key in node]
            waiting += node.values()
        elif isinstance(node, list):
            spots += [(node, index) for index in range(len(node))]
            waiting += node
    return spots


def _text(rng: random.Random, payload: bytes, _: list[Case]) -> bytes:
    """What no JSON library writes: NaN, double names, depth, bad UTF-8, marks."""
    way = rng.randrange(8)
    if way == 0:
        return payload.replace(b"1", rng.choice((b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400)), 1)
    if way == 1:
        return payload.replace(b'{"', b'{"ts":1,"ts":"x","' if rng.random() < 0.5 else b'{"v":{},"v":1,"', 1)
    if way == 2:
        deep = rng.choice((10, 100, 900, 5000))
        return payload.replace(b":", b":" + b"[" * deep + b"]" * deep + b',"z":', 1)
    if way == 3:
        at = rng.randint(0, len(payload))
        return payload[:at] + rng.choice((b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\x00")) + payload[at:]
    if way == 4:
        return b"\xef\xbb\xbf" + payload
    if way == 5:
        return b"[" + b",".join([payload] * rng.choice((2, 50))) + b"]"
    if way == 6:
        return payload.replace(b'"', b"'", rng.randint(1, 4))
    return b" " * rng.choice((1, 1000)) + payload + b"\n"


_WAYS: tuple[Callable[[random.Random, bytes, list[Case]], bytes], ...] = (
    _flip, _bytes, _cut, _twice, _splice, _shape, _shape, _shape, _shape, _text, _text,
)  # fmt: skip


def _seal_meter(payload: bytes) -> bytes:
    """With the checksum right, so that the damage is met behind it."""
    at = payload.find(b"\x68")
    if at < 0 or len(payload) - at < 4:
        return payload
    frame = payload[at:]
    return payload[:at] + frame[:-2] + bytes([sum(frame[:-2]) & 0xFF, 0x16])


def _seal_length(payload: bytes, place: int, fixed: int) -> bytes:
    at = payload.find(b"\x68")
    if at < 0 or len(payload) - at < fixed or len(payload) - at - fixed > 255:
        return payload
    changed = bytearray(payload)
    changed[at + place] = len(payload) - at - fixed
    return _seal_meter(bytes(changed))


def _seal_fire(payload: bytes) -> bytes:
    if len(payload) < 30:
        return payload
    size = min(len(payload) - 30, 65535)
    body = payload[2:24] + size.to_bytes(2, "little") + payload[26 : 27 + size]
    return b"\x40\x40" + body + bytes([sum(body) & 0xFF]) + b"\x23\x23"


_SEALED: dict[str, Callable[[bytes], bytes]] = {
    "cjt188": lambda payload: _seal_length(payload, 10, 13),
    "dlt645": lambda payload: _seal_length(payload, 9, 12),
    "gbt26875": _seal_fire,
}


@dataclass
class Tally:
    tried: Counter[str] = field(default_factory=Counter)
    understood: Counter[str] = field(default_factory=Counter)
    """Payloads of which at least one part was usable."""
    crashes: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)


def attempt(codec: str, where: Topic, payload: bytes, tally: Tally) -> BaseException | None:
    """One message; what it broke, if it broke something."""
    tally.tried[codec] += 1
    began = time.process_time()
    try:
        parts = look(codec, where, payload)
        took = time.process_time() - began
        assert took < SLOW_S, f"{took:.1f} s of CPU for {len(payload)} bytes"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        tally.crashes[codec] += 1
        return error
    tally.slowest[codec] = max(tally.slowest.get(codec, 0.0), took)
    if not all(isinstance(part, Rejected) for part in parts):
        tally.understood[codec] += 1
    return None


def keep(codec: str, where: Topic, payload: bytes, error: BaseException) -> str:
    CRASHES.mkdir(parents=True, exist_ok=True)
    name = f"{codec}-{hashlib.sha256(payload + where.tail.encode('utf-8', 'replace')).hexdigest()[:12]}.json"
    document = {
        "codec": codec, "channel": where.channel, "tail": where.tail, "hex": payload.hex(), "was": repr(error)[:300],
    }  # fmt: skip
    (CRASHES / name).write_text(json.dumps(document, indent=1) + "\n")
    return name


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=100_000, help="payloads over all formats")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options.add_argument("--codec", choices=[codec.name for codec in CODECS])
    given = options.parse_args()
    rng, tally, cases, console = random.Random(given.seed), Tally(), golden(), Console()
    names = [given.codec] if given.codec else [codec.name for codec in CODECS]
    by_codec = {name: [case for case in cases if case.codec == name] for name in names}
    console.print(f"seed {given.seed}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("payloads", total=given.count)
        for number in range(given.count):
            name = names[number % len(names)]
            where, payload = mutate(rng, rng.choice(by_codec[name]), cases)
            if (error := attempt(name, where, payload, tally)) is not None:
                console.print(f"[red]{name}[/]: {error!r:.200} kept as {keep(name, where, payload, error)}")
            if number % 500 == 499:
                progress.advance(task, 500)
        progress.update(task, completed=given.count)
    table = Table("format", "payloads", "with a usable part", "slowest, ms CPU", "crashes")
    for name in names:
        slow = f"{tally.slowest.get(name, 0) * 1000:.1f}"
        table.add_row(
            name, *(f"{n:,}" for n in (tally.tried[name], tally.understood[name])), slow, str(tally.crashes[name])
        )
    table.add_row("all", f"{tally.tried.total():,}", f"{tally.understood.total():,}", "", str(tally.crashes.total()))
    console.print(table)
    return 1 if tally.crashes else 0


if __name__ == "__main__":
    sys.exit(main())
