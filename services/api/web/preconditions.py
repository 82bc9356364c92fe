"""Versions that somebody has seen before an edit (RFC 9110, section 13): read, told, and refused when outdated."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request

from services.api.web.problems import ApiError


def expected_version(request: Request) -> int:
    """The version the asker has seen; 0: that there is none. Raises ApiError 428."""
    if request.headers.get("If-None-Match", "").strip() == "*":
        return 0
    seen = request.headers.get("If-Match", "").strip().removeprefix("W/").strip('"')
    if not seen.isdecimal() or len(seen) > 9:
        raise ApiError(
            HTTPStatus.PRECONDITION_REQUIRED,
            "请用 If-Match 给出所见版本（新规则用 If-None-Match: *） · name the version you have seen in If-Match "
            "(for a new rule: If-None-Match: *)",
        )
    return int(seen)


def etag(version: int) -> dict[str, str]:
    return {"ETag": f'"{version}"'}


def stale(newest: int, document: str | None) -> ApiError:
    return ApiError(
        HTTPStatus.PRECONDITION_FAILED,
        f"他人已先修改，现为第 {newest} 版 · somebody was faster: it is at version {newest} now",
        headers=etag(newest),
        errors=[{"version": newest, "document": document}],
    )
