"""A multipart form with several photos in the field `photo` and longer words beside them, as a report is sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from python_multipart.multipart import parse_options_header
from starlette.requests import Request

from services.api.uploads.multipart import BadForm, Form, Received, TooLarge, boundary_of, disk_errors, parsed

FIELD = "photo"
MOST_TEXTS = 20
LONGEST_TEXT_BYTES = 8192
WHOLE = 3
"""All photos of a form together are no larger than so many of the largest."""


class _Photos(Form):
    """As a form of one file, each photo into a file of its own."""

    def __init__(
        self, folder: Path | None, most: int, limit: int, look: Callable[[bytes, str | None], None], look_at: int
    ) -> None:
        self._folder, self._most = folder, most
        self.photos: list[tuple[Path, Received]] = []
        self.texts: dict[str, str] = {}
        self._open: BinaryIO | None = None
        self._path = Path(os.devnull)
        super().__init__(_Nowhere(), limit, look, look_at)  # type: ignore[arg-type]

    def _part_begin(self) -> None:
        self._seen += 1
        if self._seen > MOST_TEXTS + self._most:
            raise BadForm("too many parts")
        self._headers, self._header, self._value, self._text = {}, b"", b"", b""

    def _headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = b"filename" in options or self._name == FIELD
        if not self._is_file:
            return
        if self._name != FIELD:
            raise BadForm(f"files go into the field `{FIELD}`")
        if len(self.photos) >= self._most:
            raise BadForm(f"{self._most} photos at most")
        declared = self._headers.get("content-type", b"").decode("latin-1")
        self.received = Received(declared=declared or None)
        self._digest, self._looked = hashlib.sha256(), False
        if self._folder is None:
            self._open = self._file = self._path.open("wb")
        else:
            self._path = self._folder / f"photo-{len(self.photos)}"
            self._open = self._file = self._path.open("xb")

    def _part_end(self) -> None:
        if not self._is_file:
            self.texts[self._name] = self._text.decode("utf-8", "replace")
            return
        self.close()
        if self.received.size == 0:
            if self._folder is not None:
                self._path.unlink()  # a form sends an empty file where none was chosen
            return
        if not self._looked:
            self._look_now()
        self.received.digest = self._digest.hexdigest()
        self.photos.append((self._path, self.received))

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    @staticmethod
    def _short(text: bytes) -> bytes:
        if len(text) > LONGEST_TEXT_BYTES:
            raise BadForm(f"a field or header is longer than {LONGEST_TEXT_BYTES} bytes")
        return text


class _Nowhere:
    """Stands for the file while none is open."""

    def write(self, data: bytes) -> int:
        raise TooLarge


async def receive_photos(
    request: Request,
    folder: Path | None,
    most: int,
    limit: int,
    look: Callable[[bytes, str | None], None],
    look_at: int,
) -> tuple[list[tuple[Path, Received]], dict[str, str]]:
    """The photos, each in a file of the folder with what was seen of it, and the other fields. `limit`: bytes of each.
    `folder` None: there is no room for photos now, and only what is said beside them is kept.

    Raises as `multipart.receive`.
    """
    boundary = boundary_of(request)
    form = _Photos(folder, most, limit, look, look_at)
    try:
        with disk_errors():
            await parsed(request, boundary, form, WHOLE * limit)
    finally:
        form.close()
    if not form.done:
        raise BadForm("the form is cut short")
    return form.photos, form.texts
