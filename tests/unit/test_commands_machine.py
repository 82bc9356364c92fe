"""The life of a command as a machine: whatever happens in whatever order, it has one end and a history that says how.

`LINHUB_HYPOTHESIS_EXAMPLES` makes a campaign of it.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.domain.commands import (
    ENDED,
    OPEN,
    PAIRS,
    STATE_LABELS,
    TABLE,
    BrokenHistory,
    Command,
    CommandMove,
    CommandState,
    Entry,
    apply,
    fold,
)

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
EXAMPLES = int(os.environ.get("LINHUB_HYPOTHESIS_EXAMPLES", "200"))
S, M = CommandState, CommandMove
Moves = list[tuple[CommandMove, CommandState, str]]
MOVES = st.lists(st.tuples(st.sampled_from(M), st.sampled_from(S), st.sampled_from(["a", "b"])), max_size=40)


def line(before: Command | None, move: CommandMove, after: CommandState, by: str) -> Entry:
    version = before.version if before else 0
    return Entry(version + 1, move, before.state if before else None, after, NOW + timedelta(seconds=version), by)


def lived(wanted: Moves) -> tuple[Command, list[Entry], list[CommandState]]:
    """What of these moves the table lets happen, the history of it, and the states that it went through."""
    entries = [line(None, M.REQUEST, S.AWAITING, "a")]
    command = fold(entries)
    went = [command.state]
    for move, after, by in wanted:
        entry = line(command, move, after, by)
        try:
            command = apply(command, entry)
        except BrokenHistory:
            continue
        entries.append(entry)
        went.append(command.state)
    return command, entries, went


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(MOVES)
def test_command_has_one_end_and_nothing_after_it_but_one_review(wanted: Moves) -> None:
    command, entries, went = lived(wanted)
    assert fold(entries) == command
    ends = [state for state in went if state in ENDED]
    assert len(set(ends)) <= 1 and (not ends or went[-1] == ends[0])
    after_end = entries[next((i for i, s in enumerate(went) if s in ENDED), len(went)) + 1 :]
    assert [entry.move for entry in after_end] in ([], [M.REVIEW])
    assert command.ended == (command.ended_at is not None)


@settings(max_examples=EXAMPLES, deadline=None)
@given(MOVES)
def test_command_is_never_sent_unapproved_nor_approved_or_reviewed_by_its_asker(wanted: Moves) -> None:
    command, entries, went = lived(wanted)
    assert command.requested_by == "a" and command.approved_by in (None, "b") and command.reviewed_by in (None, "b")
    if command.sends or set(went) & {S.SENT, S.ACKNOWLEDGED, S.EXECUTED, S.CONFIRMED, S.DONE, S.FAILED}:
        assert command.approved_by == "b"
    assert sum(entry.move is M.PUT for entry in entries) == command.sends


@settings(max_examples=EXAMPLES, deadline=None)
@given(MOVES, st.integers(0, 40))
def test_history_with_a_line_taken_out_is_broken(wanted: Moves, place: int) -> None:
    _, entries, _ = lived(wanted)
    if place >= len(entries) - 1:
        return
    with pytest.raises(BrokenHistory):
        fold(entries[:place] + entries[place + 1 :])


def test_table_leads_everywhere_and_each_open_state_reaches_an_end() -> None:
    reached = {row.to for row in TABLE if row.to is not None}
    assert reached == set(S)
    for state in OPEN:
        ends, edge = set[CommandState](), {state}
        while edge:
            edge = {after for (before, after) in PAIRS if before in edge and after is not before}
            ends |= edge & ENDED
            edge -= ENDED
        assert ends, f"{state} never ends"
    assert not [before for (before, _) in PAIRS if before in ENDED]
    assert set(STATE_LABELS) == set(S)


def test_what_was_handed_to_the_broker_is_not_called_back() -> None:
    for state in OPEN - {S.AWAITING, S.QUEUED}:
        assert (state, S.CANCELLED) not in PAIRS and (state, S.REFUSED) not in PAIRS


def test_empty_history_is_no_command() -> None:
    with pytest.raises(BrokenHistory):
        fold([])
