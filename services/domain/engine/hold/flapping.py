"""Flap detection: what opens again and again sends nobody more until it has calmed down or stands."""

from __future__ import annotations

from typing import Any

MOST_OPENINGS = 5
"""In an hour; the next one is held back."""
WINDOW_MS = 60 * 60_000
CALM_MS = 30 * 60_000
"""Quiet for so long, or standing for so long, it does not flap any more."""

State = dict[str, Any]
"""{"opens": the last few times it opened, "flaps": bool, "last": when it last opened or cleared}."""


def opened(state: State | None, now_ms: int) -> State:
    """One more opening."""
    before = state or {"opens": [], "flaps": False, "last": 0}
    still = before["flaps"] and now_ms - before["last"] < CALM_MS
    opens = [*[at for at in before["opens"] if now_ms - at < WINDOW_MS][-MOST_OPENINGS:], now_ms]
    return {"opens": opens, "flaps": still or len(opens) > MOST_OPENINGS, "last": now_ms}


def cleared(state: State, now_ms: int) -> State:
    return {**state, "last": max(now_ms, state["last"])}


def stood(state: State) -> State:
    """It has stood for long enough to be taken at its word: counted from the beginning again."""
    return {**state, "opens": [], "flaps": False}


def forget_at(state: State) -> int:
    """From when on nothing of it matters any more."""
    return int(state["last"]) + WINDOW_MS
