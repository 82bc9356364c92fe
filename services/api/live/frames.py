"""The bytes of server-sent events."""

from __future__ import annotations

from datetime import UTC, datetime

from pydantic_core import to_json


def frame(event: str, data: object, cursor: int | None = None) -> bytes:
    """One event; `cursor` becomes its `id`, where a reader resumes. `data` is a model, or anything of JSON values."""
    head = b"event: " + event.encode() + (b"\nid: %d" % cursor if cursor is not None else b"")
    return head + b"\ndata: " + to_json(data, timedelta_mode="float") + b"\n\n"


def hello(cursor: int, build: str, at: datetime) -> bytes:
    return frame("hello", {"cursor": cursor, "build": build, "at": at}, cursor)


def beat() -> bytes:
    return frame("hb", {"at": datetime.now(UTC)})


def resync(why: str) -> bytes:
    return frame("resync", {"why": why})


def event_name(framed: bytes) -> str:
    """The event a frame carries, for counting."""
    return framed[7 : framed.index(b"\n")].decode()
