"""A command as its history makes it: a fold, and what must hold of every history there is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from services.domain.commands.states import ENDED, PAIRS, CommandMove, CommandState


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a command's history; `version` counts from 1 without a gap."""

    version: int
    move: CommandMove
    before: CommandState | None
    after: CommandState
    at: datetime
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """What the history says. `sends`: how often it was handed to the broker."""

    state: CommandState
    version: int
    requested_by: str
    requested_at: datetime
    sends: int = 0
    approved_by: str | None = None
    reviewed_by: str | None = None
    ended_at: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED


class BrokenHistory(ValueError):
    """A history that no command can have."""


def fold(entries: Iterable[Entry]) -> Command:
    """Raises BrokenHistory for a gap, a move that is not in the table, or anything after an end but its review."""
    found: Command | None = None
    for entry in entries:
        found = apply(found, entry)
    if found is None:
        raise BrokenHistory("there is nothing in it")
    return found


def apply(before: Command | None, entry: Entry) -> Command:
    """The command one line further on. Raises BrokenHistory."""
    if entry.version != (before.version if before else 0) + 1 or entry.before != (before.state if before else None):
        raise BrokenHistory(f"line {entry.version} does not follow what is before it")
    if before is None:
        if PAIRS.get((None, entry.after)) is not entry.move:
            raise BrokenHistory(f"no command begins as {entry.after.value} by {entry.move.value}")
        return Command(entry.after, 1, entry.by, entry.at)
    if entry.move is CommandMove.REVIEW:
        return _reviewed(before, entry)
    if PAIRS.get((entry.before, entry.after)) is not entry.move:
        raise BrokenHistory(f"line {entry.version}: {entry.move.value} does not lead to {entry.after.value}")
    after = replace(before, state=entry.after, version=entry.version)
    if entry.move is CommandMove.PUT:
        return replace(after, sends=before.sends + 1)
    if entry.move is CommandMove.APPROVE:
        if entry.by == before.requested_by:
            raise BrokenHistory("nobody approves what they asked for themselves")
        return replace(after, approved_by=entry.by)
    return replace(after, ended_at=entry.at) if after.ended else after


def _reviewed(before: Command, entry: Entry) -> Command:
    if entry.after is not before.state or before.reviewed_by is not None or entry.by == before.requested_by:
        raise BrokenHistory("a review is one, by somebody else, and moves nothing")
    return replace(before, version=entry.version, reviewed_by=entry.by)
