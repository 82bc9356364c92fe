"""Has a report rendered by another process, bounded in time."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Literal

from services.adapters.monthly.__main__ import NO_FONT
from services.adapters.monthly.document import as_json
from services.adapters.monthly.fonts import NoFont
from services.domain.kpis.month import Month

Sort = Literal["pdf", "xlsx"]
_CODE = Path(__file__).resolve().parents[3]


class RenderFailed(Exception):
    """The renderer came to no end; its last words are the message."""


async def render(month: Month, sort: Sort, within_s: float = 60.0) -> bytes:
    """Raises NoFont, and RenderFailed. Nothing is left running, whatever happens."""
    if sort == "pdf":
        month = replace(month, orders=())  # they are the workbook's
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.adapters.monthly",
        sort,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=_CODE,
    )
    try:
        async with asyncio.timeout(within_s):
            content, words = await process.communicate(as_json(month).encode())
    except TimeoutError:
        raise RenderFailed(f"not done within {within_s:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == NO_FONT:
        raise NoFont(words.decode(errors="replace"))
    if process.returncode != 0 or not content:
        raise RenderFailed(words.decode(errors="replace")[-400:] or f"exit code {process.returncode}")
    return content
