"""Id patterns: the part of regular expressions that can be matched in time that is bounded by their length."""

from __future__ import annotations

from dataclasses import dataclass

_SPECIAL = frozenset("[]{}()+?|\\*^$")
MOST = 256


@dataclass(frozen=True, slots=True)
class Pattern:
    """Characters, `.` (any one) and `.*` (any run, written as None); what is not anchored begins or ends with a run."""

    pieces: tuple[str | None, ...]

    def matches(self, text: str) -> bool:
        """By going back to the last run only, so in steps of at most length times length."""
        at = piece = 0
        run, kept = -1, 0
        while at < len(text):
            one = self.pieces[piece] if piece < len(self.pieces) else ""
            if one is None:
                run, kept = piece, at
                piece += 1
            elif one in (".any", text[at]):
                at, piece = at + 1, piece + 1
            elif run >= 0:
                kept += 1
                at, piece = kept, run + 1
            else:
                return False
        return all(one is None for one in self.pieces[piece:])


def read(text: str) -> Pattern | None:
    """None for what is more of a regular expression than this understands."""
    if len(text) > MOST:
        return None
    anchored_left, anchored_right = text.startswith("^"), text.endswith("$") and not text.endswith("\\$")
    body = text[anchored_left : len(text) - anchored_right]
    pieces: list[str | None] = [] if anchored_left else [None]
    at = 0
    while at < len(body):
        one, rest = body[at], body[at + 1 : at + 2]
        if one == "\\":
            if not rest or rest.isalnum():
                return None
            pieces.append(rest)
            at += 2
        elif one == "." and rest in ("*", "+"):
            pieces += [None] if rest == "*" else [".any", None]
            at += 2
        elif one in _SPECIAL or rest in ("*", "+", "?", "{"):
            return None
        else:
            pieces.append(".any" if one == "." else one)
            at += 1
    return Pattern(tuple(pieces if anchored_right else [*pieces, None]))
