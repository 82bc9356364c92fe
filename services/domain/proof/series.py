"""The short notation in which a test case writes what a metric showed, one value after the other."""

from __future__ import annotations

import re
from collections.abc import Mapping

Known = Mapping[str, float]
"""Words that stand for a number: `true`, `false` and the options of a metric."""

WORDS: Known = {"true": 1.0, "false": 0.0, "on": 1.0, "off": 0.0}
MOST_VALUES = 100_000

_NUMBER = r"-?\d+(?:\.\d+)?"
_STEP = r"[+-]\d+(?:\.\d+)?"
_TOKEN = re.compile(rf"(?:(?P<number>{_NUMBER})(?P<step>{_STEP})?|(?P<word>[A-Za-z_]\w*?|_))(?:x(?P<times>\d+))?")
NOT_SENT = "_"


class BadSeries(ValueError):
    """What is wrong with it, for people."""


def read_series(written: str | float | bool, known: Known = WORDS) -> list[float | None]:
    """`4` one value, `4x10` ten of them, `4+0.5x3` is 4 4.5 5, `_` not sent, `_x3` three of these, words as known.

    Raises BadSeries.
    """
    if not isinstance(written, str):
        return [float(written)]
    values: list[float | None] = []
    for token in written.split():
        values += _token(token, known)
        if len(values) > MOST_VALUES:
            raise BadSeries(f"more than {MOST_VALUES} values")
    return values


def _token(token: str, known: Known) -> list[float | None]:
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise BadSeries(f"{token!r} is no value; write 4, 4x10, 4+0.5x10, _, _x3 or one of {', '.join(known)}")
    times = int(match["times"] or 1)
    if times > MOST_VALUES:
        raise BadSeries(f"more than {MOST_VALUES} values")
    if match["number"] is None:
        word = match["word"]
        if word == NOT_SENT:
            return [None] * times
        if word not in known:
            raise BadSeries(f"{word!r} is no value here; known are {', '.join(known)}")
        return [known[word]] * times
    first, step = float(match["number"]), float(match["step"] or 0)
    if step and match["times"] is None:
        raise BadSeries(f"{token!r} says by how much but not how often; write {token}x10")
    # Whole steps of the last written decimal, so that 0.1 ten times over comes to 1 and not to 0.9999999999999999.
    digits = max(len(part.partition(".")[2]) for part in (match["number"], match["step"] or "0"))
    return [round(first + place * step, digits) for place in range(times)]
