"""What tests of the wire formats share: the golden cases, parts as they stand there, and what every answer must be."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.domain.codecs import Decoded, decode, reply
from services.domain.codecs.common.parts import MAX_PARTS
from services.domain.ids import CommunityId, DeviceId
from services.domain.messages import (
    AT_ARRIVAL_MS,
    NO_SESSION,
    DeviceEvent,
    Rejected,
    Reply,
    StatusChange,
    Telemetry,
    Topic,
)

GOLDEN = Path(__file__).parent / "golden" / "codecs"
CRASHES = GOLDEN / "crashes"
LATEST_MS = 253_402_300_799_999
EARLIEST_MS = AT_ARRIVAL_MS - 2**28 * 1000


@dataclass(frozen=True)
class Case:
    codec: str
    name: str
    topic: Topic
    payload: bytes
    document: dict[str, Any]


def topic(channel: str = "telemetry", tail: str = "") -> Topic:
    return Topic(CommunityId("c1"), DeviceId("d1"), channel, tail)


def payload_of(document: dict[str, Any]) -> bytes:
    return bytes.fromhex(document["hex"]) if "hex" in document else str(document["payload"]).encode()


def golden() -> list[Case]:
    cases = []
    for path in sorted(GOLDEN.glob("*/*.json")):
        if path.parent == CRASHES:
            continue
        document = json.loads(path.read_text())
        where = topic(document["channel"], document["tail"])
        cases.append(Case(path.parent.name, path.stem, where, payload_of(document), document))
    return cases


def written(part: Decoded) -> dict[str, Any]:
    """A part as golden cases write it."""
    match part:
        case Rejected():
            return {"rejected": part.detail, "device": part.device}
        case Telemetry():
            said: dict[str, Any] = {"telemetry": dict(part.values)}
        case DeviceEvent():
            said = {"event": part.event, "data": dict(part.data)}
        case StatusChange():
            return {"online": part.online, "device": part.device, "ts": part.ts_ms, "session": part.session}
        case Reply():
            said = {"reply": part.command_id, "ok": part.ok, "detail": part.detail}
    said |= {"device": part.device, "ts": part.ts_ms}
    if isinstance(part, Telemetry | DeviceEvent) and part.message_id:
        said["id"] = part.message_id
    return said


def look(codec: str, where: Topic, payload: bytes) -> list[Decoded]:
    """Decodes, asks for the reply, and checks what must hold of every answer to anything. Raises AssertionError."""
    parts = decode(codec, where, payload)
    assert 1 <= len(parts) <= (MAX_PARTS + 1 if codec != "native" else 10**6)
    for part in parts:
        _check(part, strict=codec != "native")
    for why in (None, "why"):
        answer = reply(codec, where, payload, why)
        assert answer is None or (type(answer[0]) is str and answer[0] and type(answer[1]) is bytes)
    return parts


def _check(part: Decoded, strict: bool) -> None:
    if isinstance(part, Rejected):
        assert part.detail and len(part.detail) < 4000
        if part.device is not None:
            _name(part.device)
        return
    _name(part.device)
    assert type(part.ts_ms) is int and EARLIEST_MS <= part.ts_ms <= LATEST_MS
    match part:
        case Telemetry():
            assert part.values
            for name, value in part.values.items() if strict else ():
                _name(name)
                assert type(value) in (bool, int, float, str), value
                assert type(value) is not float or math.isfinite(value)
                assert type(value) is not int or abs(value) <= 2**63
        case DeviceEvent():
            _name(part.event)
            _storable(part.data)
        case StatusChange():
            assert type(part.online) is bool and (part.session == NO_SESSION or part.session >= 0)
        case Reply():
            _name(part.command_id)


def _name(text: str) -> None:
    """Long enough to mean something, nothing below a space, no half characters."""
    assert type(text) is str and 0 < len(text) <= 200
    assert all(ord(sign) >= 32 and ord(sign) != 127 and not 0xD800 <= ord(sign) <= 0xDFFF for sign in text), repr(text)


def _storable(value: Any) -> None:
    assert "\\u0000" not in json.dumps(value, allow_nan=False, default=dict)
    json.dumps(value, ensure_ascii=False, default=dict).encode()
