"""One file of a multipart form (RFC 7578), written to disk as it comes and cut where it is too large."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from services.adapters.evidence.errors import FULL, NoRoom, StoreAway

MAX_FIELD_BYTES = 2048
MAX_FIELDS = 12
OVERHEAD_BYTES = 64 * 1024
"""Of the form around the file."""
_GATHERED = 256 * 1024


class BadForm(Exception):
    """What was sent is no form with exactly one file."""


class TooLarge(Exception):
    """The file is larger than it may be; the rest was not read."""


class Cut(Exception):
    """Whoever sent it stopped half way."""


@dataclass(slots=True)
class Received:
    """`declared`: the file part's Content-Type. `digest`: SHA-256 of the file as it came."""

    size: int = 0
    declared: str | None = None
    head: bytes = b""
    digest: str = ""
    fields: dict[str, str] = field(default_factory=dict)


class Form:
    """What the parser calls; runs on a thread, so that a slow disk holds up nobody else."""

    def __init__(self, file: BinaryIO, limit: int, look: Callable[[bytes, str | None], None], look_at: int) -> None:
        self.received = Received()
        self.done = False
        self._file, self._limit, self._look, self._look_at = file, limit, look, look_at
        self._digest = hashlib.sha256()
        self._files = 0
        self._seen = 0
        self._looked = False
        self._name, self._is_file = "", False
        self._header, self._value = b"", b""
        self._headers: dict[str, bytes] = {}
        self._text = b""

    def callbacks(self) -> dict[str, Callable[..., None]]:
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._part_end,
            "on_end": self._end,
        }

    def _part_begin(self) -> None:
        self._seen += 1
        if self._seen > MAX_FIELDS + 1:
            raise BadForm("too many parts")
        self._headers, self._header, self._value, self._text = {}, b"", b"", b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header = self._short(self._header + data[start:end])

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value = self._short(self._value + data[start:end])

    def _header_end(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = b"filename" in options or self._name == "file"
        if self._is_file:
            self._files += 1
            if self._files > 1 or self._name != "file":
                raise BadForm("exactly one file, in the field `file`")
            declared = self._headers.get("content-type", b"").decode("latin-1")
            self.received.declared = declared or None

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file:
            self._text = self._short(self._text + data[start:end])
            return
        chunk, told = data[start:end], self.received
        told.size += len(chunk)
        if told.size > self._limit:
            raise TooLarge
        if not self._looked:
            told.head = (told.head + chunk)[: self._look_at]
            if len(told.head) >= self._look_at:
                self._look_now()
        self._digest.update(chunk)
        self._file.write(chunk)

    def _part_end(self) -> None:
        if self._is_file:
            if not self._looked:
                self._look_now()
            self.received.digest = self._digest.hexdigest()
        else:
            self.received.fields[self._name] = self._text.decode("utf-8", "replace")

    def _look_now(self) -> None:
        self._looked = True
        self._look(self.received.head, self.received.declared)

    def _end(self) -> None:
        self.done = True

    @staticmethod
    def _short(text: bytes) -> bytes:
        if len(text) > MAX_FIELD_BYTES:
            raise BadForm(f"a field or header is longer than {MAX_FIELD_BYTES} bytes")
        return text

    @property
    def one_file(self) -> bool:
        return self._files == 1


async def receive(
    request: Request, into: Path, limit: int, look: Callable[[bytes, str | None], None], look_at: int
) -> Received:
    """Writes the part `file` into a new file. `look` gets its first bytes and declared type as soon as they are there;
    what it raises ends the reading.

    Raises BadForm, TooLarge, Cut, NoRoom, StoreAway.
    """
    boundary = boundary_of(request)
    with disk_errors(), into.open("xb") as file:
        form = Form(file, limit, look, look_at)
        await parsed(request, boundary, form, limit)
    if not form.done or not form.one_file:
        raise BadForm("the form is cut short, or has no file in the field `file`")
    return form.received


def boundary_of(request: Request) -> bytes:
    """Raises BadForm."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if kind != b"multipart/form-data" or not 1 <= len(boundary) <= 70:
        raise BadForm("the body is not multipart/form-data with a boundary")
    return boundary


@contextmanager
def disk_errors() -> Iterator[None]:
    """Whatever goes wrong while a form is parsed and written, as what it means."""
    try:
        yield
    except FormParserError as error:
        raise BadForm(str(error)) from None
    except (NoRoom, StoreAway):
        raise
    except OSError as error:
        if error.errno in FULL:
            raise NoRoom(error.errno, "no space left for what comes in") from error
        raise StoreAway(error.errno, f"what comes in cannot be written: {error}") from error


async def parsed(request: Request, boundary: bytes, form: Form, limit: int) -> None:
    """Reads the body through the form's callbacks, `limit` bytes and what is around them at most."""
    # Bounded by us, byte for byte of the file and of the whole body; the parser's own bound would cut silently.
    parser = MultipartParser(boundary, form.callbacks())  # type: ignore[arg-type]
    whole, gathered = 0, bytearray()
    try:
        async for chunk in request.stream():
            whole += len(chunk)
            if whole > limit + OVERHEAD_BYTES:
                raise TooLarge
            gathered += chunk
            if len(gathered) >= _GATHERED:
                await asyncio.to_thread(parser.write, bytes(gathered))
                gathered.clear()
    except ClientDisconnect:
        raise Cut from None
    await asyncio.to_thread(parser.write, bytes(gathered))
    await asyncio.to_thread(parser.finalize)
