"""Page cursors: where a page ended, opaque to the client."""

from __future__ import annotations

import base64
import binascii
import json
from http import HTTPStatus
from typing import Any

from services.api.web.problems import ApiError


def encode(*key: Any) -> str:
    """The sort key of a page's last row; datetimes as their ISO text."""
    text = json.dumps([str(part) for part in key], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(cursor: str | None, parts: int) -> list[str] | None:
    """Raises ApiError 400 for anything `encode` did not write."""
    if cursor is None:
        return None
    try:
        key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        key = None
    if not isinstance(key, list) or len(key) != parts or not all(isinstance(part, str) for part in key):
        raise refused()
    return key


def refused() -> ApiError:
    return ApiError(
        HTTPStatus.BAD_REQUEST, "翻页标记无效，请从第一页开始 · not a cursor of this list; start from its first page"
    )
