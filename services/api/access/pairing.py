"""How a screen is paired: a code that people can read from afar, its QR, and what they type made into it again."""

from __future__ import annotations

import io
import secrets

import segno

LETTERS = "ACDEFGHJKLMNPQRTUVWXY34679"
"""Without look-alikes: no B8, 0O, 1I, 2Z, 5S."""
LENGTH = 8


def new_code() -> str:
    """Eight of 26 letters: 2·10^11 codes, of which a handful are open at a time."""
    return "".join(secrets.choice(LETTERS) for _ in range(LENGTH))


def shown(code: str) -> str:
    return f"{code[: LENGTH // 2]}-{code[LENGTH // 2 :]}"


def typed(text: str) -> str | None:
    """The code somebody typed, however they spaced it; None for what cannot be one."""
    code = "".join(letter for letter in text.upper() if letter.isalnum())
    return code if len(code) == LENGTH and all(letter in LETTERS for letter in code) else None


def qr(text: str) -> str:
    """A whole SVG of its own, black on white."""
    buffer = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        buffer, kind="svg", border=3, xmldecl=False, svgclass=None, lineclass=None, omitsize=True, light="#fff"
    )
    return buffer.getvalue().decode()
