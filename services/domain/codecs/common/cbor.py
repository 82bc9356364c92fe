"""CBOR (RFC 8949) as far as SenML needs it: bounded in depth and size, no tag but the decimal fraction (4)."""

from __future__ import annotations

import struct
from decimal import Decimal
from typing import Any

from services.domain.codecs.common.parts import Bad

MAX_DEPTH = 16
MAX_ITEMS = 100_000
_FLOATS = {25: (2, ">e"), 26: (4, ">f"), 27: (8, ">d")}
_BREAK = object()


def loads(data: bytes) -> Any:
    """One item and nothing behind it. Raises Bad; never asks for more memory than the payload justifies."""
    reader = _Reader(data)
    value = reader.item(MAX_DEPTH)
    if value is _BREAK:
        raise Bad("not CBOR: an end of nothing")
    if reader.at != len(data):
        raise Bad(f"not CBOR: {len(data) - reader.at} bytes behind the end")
    return value


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0
        self.items = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.at:
            raise Bad("not CBOR: it ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def item(self, depth: int) -> Any:
        self.items += 1
        if depth == 0:
            raise Bad(f"CBOR nested deeper than {MAX_DEPTH} levels")
        if self.items > MAX_ITEMS:
            raise Bad(f"CBOR of more than {MAX_ITEMS} items")
        first = self.take(1)[0]
        major, info = first >> 5, first & 31
        if major == 7:
            return self._simple(info)
        size = self._argument(info) if info != 31 else None
        if major <= 1:
            if size is None:
                raise Bad("not CBOR: a number without end")
            return size if major == 0 else -1 - size
        if major == 6:
            return self._tagged(size, depth)
        if major <= 3:
            return self._string(major, size, depth)
        return self._list(size, depth) if major == 4 else self._map(size, depth)

    def _argument(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise Bad("not CBOR: a length of a kind that does not exist")
        return int.from_bytes(self.take(1 << (info - 24)), "big")

    def _simple(self, info: int) -> Any:
        if info in _FLOATS:
            size, layout = _FLOATS[info]
            return struct.unpack(layout, self.take(size))[0]
        if info in (20, 21):
            return info == 21
        if info in (22, 23):
            return None
        if info == 31:
            return _BREAK
        raise Bad("CBOR with a simple value that means nothing here")

    def _tagged(self, tag: int | None, depth: int) -> Any:
        value = self.item(depth - 1)
        if tag != 4:
            raise Bad(f"CBOR tag {tag} is not part of SenML")
        if (
            type(value) is not list
            or len(value) != 2
            or type(value[0]) is not int
            or type(value[1]) is not int
            or not -400 <= value[0] <= 400
        ):
            raise Bad("CBOR decimal fraction that is none")
        return float(Decimal(value[1]).scaleb(value[0]))

    def _string(self, major: int, size: int | None, depth: int) -> Any:
        if size is not None:
            raw = self.take(size)
        else:
            chunks = []
            while (chunk := self._chunk(major, depth)) is not _BREAK:
                chunks.append(chunk)
            raw = b"".join(chunks)
        if major == 2:
            return raw
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise Bad("not CBOR: text that is not UTF-8") from None

    def _chunk(self, major: int, depth: int) -> Any:
        first = self.take(1)[0]
        if first == 0xFF:
            return _BREAK
        if first >> 5 != major or first & 31 == 31:
            raise Bad("not CBOR: a text in pieces with a piece of another kind")
        return self.take(self._argument(first & 31))

    def _list(self, size: int | None, depth: int) -> list[Any]:
        if size is not None and size > len(self.data) - self.at:
            raise Bad("not CBOR: a list longer than the message")
        result: list[Any] = []
        while size is None or len(result) < size:
            value = self.item(depth - 1)
            if value is _BREAK:
                if size is None:
                    return result
                raise Bad("not CBOR: a list that ends too early")
            result.append(value)
        return result

    def _map(self, size: int | None, depth: int) -> dict[Any, Any]:
        if size is not None and size > len(self.data) - self.at:
            raise Bad("not CBOR: a map longer than the message")
        result: dict[Any, Any] = {}
        count = 0
        while size is None or count < size:
            key = self.item(depth - 1)
            if key is _BREAK and size is None:
                return result
            if type(key) is not int and type(key) is not str:
                raise Bad("CBOR map with a name that is neither number nor text")
            value = self.item(depth - 1)
            if value is _BREAK:
                raise Bad("not CBOR: a name without a value")
            result[key] = value
            count += 1
        return result
