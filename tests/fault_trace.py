"""System calls of running processes, in order, and whether anything was promised before it was on disk."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

_CALLS = "read,recvfrom,recvmsg,write,writev,sendto,sendmsg,fdatasync,fsync"
_LINE = re.compile(r"^(?P<pid>\d+) +(?P<rest>.*)$")
_RESUMED = re.compile(r"^<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)$")
_CALL = re.compile(r"^(?P<call>\w+)\((?P<rest>.*)$")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')

_THERE_OR_GONE = re.compile(r"(Process |ptrace\(PTRACE_\w+, )(?P<pid>\d+)( attached|\): No such process)")


@asynccontextmanager
async def traced(pids: Sequence[int], into: Path) -> AsyncIterator[None]:
    """Writes what these processes, their threads and whom they start do. Raises AssertionError with strace's words."""
    program = shutil.which("strace")
    assert program is not None, "strace is not installed: apt-get install strace"
    command = [program, "-f", "-yy", "-s", str(1 << 20), "-e", f"trace={_CALLS}", "-e", "signal=none", "-o", str(into)]
    for pid in pids:
        command += ["-p", str(pid)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    said = b""
    left = set(map(str, pids))
    try:
        async with asyncio.timeout(90):
            while left:
                line = await process.stderr.readline()
                assert line, said.decode()
                said += line
                # A process of a moment may be gone again by the time it is attached to.
                left -= {found["pid"] for found in _THERE_OR_GONE.finditer(line.decode())}
        draining = asyncio.create_task(process.stderr.read())
        yield
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        await process.wait()
    await draining


@dataclass(frozen=True, slots=True)
class Call:
    """`began` and `ended` are line numbers: the order in which the kernel was entered and left."""

    name: str
    target: str
    """What the descriptor is: a path, or `TCP:[from->to]`."""
    data: bytes
    began: int
    ended: int


def parse(lines: Iterable[str]) -> list[Call]:
    """Of `strace -f -yy -o`, whose interrupted calls stand in two halves."""
    begun: dict[str, tuple[int, str]] = {}
    calls: list[Call] = []
    for number, line in enumerate(lines):
        if (match := _LINE.match(line)) is None:
            continue
        pid, rest, began = match["pid"], match["rest"], number
        if rest.endswith("<unfinished ...>"):
            begun[pid] = number, rest.removesuffix("<unfinished ...>")
            continue
        if (resumed := _RESUMED.match(rest)) is not None:
            if pid not in begun:
                continue
            began, first = begun.pop(pid)
            rest = first + resumed["rest"]
        if (call := _CALL.match(rest)) is None or " = -1 " in rest[-60:]:
            continue
        target = re.match(r"\d+<(.*?)>\s*[,)]", call["rest"])
        data = b"".join(_bytes(text) for text in _STRING.findall(call["rest"]))
        calls.append(Call(call["call"], target[1] if target else "", data, began, number))
    return sorted(calls, key=lambda call: call.ended)


def _bytes(text: str) -> bytes:
    return text.encode("latin-1").decode("unicode_escape").encode("latin-1")


def packets(stream: bytearray) -> Iterable[tuple[int, bytes]]:
    """(first byte, body) of each whole MQTT packet, taken from the stream."""
    while len(stream) >= 2:
        size = shift = 0
        at = 1
        while True:
            if at >= len(stream):
                return
            size |= (stream[at] & 0x7F) << shift
            shift += 7
            at += 1
            if not stream[at - 1] & 0x80:
                break
        if len(stream) < at + size:
            return
        yield stream[0], bytes(stream[at : at + size])
        del stream[: at + size]


def _own_port(target: str) -> int:
    """Of `TCP:[from->to]`."""
    return int(target.partition("->")[0].rpartition(":")[2])


@dataclass
class Order:
    """What the calls of ingest and PostgreSQL show. `sent`: message id → (device, ts)."""

    database_port: int
    broker_port: int
    sent: Mapping[str, tuple[str, int]]
    deaf: Collection[int] = ()
    """Ports of connections whose messages are not ingest's to store: it hears them a second time there."""
    syncs: list[tuple[int, int]] = field(default_factory=list)
    promised: dict[str, dict[int, int]] = field(default_factory=lambda: {"puback": {}, "ack": {}})
    """kind → ts of the message → line at which ingest began to say it."""
    committed: dict[int, int] = field(default_factory=dict)
    """ts of the message → line at which its COMMIT was sent."""

    def look(self, calls: Iterable[Call]) -> None:
        heard: dict[str, bytearray] = {}
        said: dict[str, bytearray] = {}
        tokens: dict[tuple[str, int], int] = {}
        open_ts: dict[str, list[int]] = {}
        keys = {ts.to_bytes(8, "big"): ts for _, ts in self.sent.values()}
        for call in calls:
            if call.name in ("fdatasync", "fsync"):
                if "pg_wal" in call.target:
                    self.syncs.append((call.began, call.ended))
            elif call.target.endswith(f":{self.broker_port}]"):
                if _own_port(call.target) in self.deaf:
                    continue
                if call.name.startswith(("read", "recv")):
                    self._heard(call, heard.setdefault(call.target, bytearray()), tokens)
                else:
                    self._said(call, said.setdefault(call.target, bytearray()), tokens)
            elif call.target.endswith(f":{self.database_port}]") and call.name.startswith(("write", "send")):
                mine = open_ts.setdefault(call.target, [])
                mine += [ts for key, ts in keys.items() if key in call.data]
                if b"COMMIT" in call.data:
                    for ts in mine:
                        self.committed.setdefault(ts, call.began)
                    mine.clear()

    def _heard(self, call: Call, stream: bytearray, tokens: dict[tuple[str, int], int]) -> None:
        stream += call.data
        for head, body in packets(stream):
            if head & 0xF6 == 0x32:
                end = 2 + int.from_bytes(body[:2], "big")
                ts = re.search(rb'"ts": ?(\d+)', body[end:])
                if ts is not None:
                    tokens[call.target, int.from_bytes(body[end : end + 2], "big")] = int(ts[1])

    def _said(self, call: Call, stream: bytearray, tokens: dict[tuple[str, int], int]) -> None:
        stream += call.data
        for head, body in packets(stream):
            if head & 0xF0 == 0x40:
                ts = tokens.get((call.target, int.from_bytes(body[:2], "big")))
                if ts is not None:
                    self.promised["puback"].setdefault(ts, call.began)
            elif head & 0xF6 == 0x32 and b"/down/ack" in body:
                for id in json.loads(body[body.index(b"{") :])["ids"]:
                    self.promised["ack"].setdefault(self.sent[id][1], call.began)

    def violations(self, kind: str) -> list[int]:
        """Messages promised before a sync of the log that began after their COMMIT had ended."""
        return [
            ts
            for ts, at in self.promised[kind].items()
            if ts not in self.committed
            or not any(self.committed[ts] < began and ended < at for began, ended in self.syncs)
        ]
