"""Work orders: every state × move × person, against what was written down by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.domain.orders import (
    TABLE,
    Entry,
    Mode,
    Move,
    Order,
    OrderState,
    Refused,
    Rung,
    allowed_moves,
    decide,
    needs_of,
)
from services.domain.orders.drawn import DOCUMENT, drawn_into
from services.domain.orders.folding import apply
from services.domain.vocabulary import Severity, Team
from tests.unit.orders_support import NOW, PEOPLE, draft, full, order_in, terms

GOLDEN = Path(__file__).parents[1] / "golden" / "orders" / "table.yaml"
SITUATIONS: dict[str, tuple[Mapping[str, Any], timedelta]] = {
    "team": ({}, timedelta()),
    "assigned": ({"mode": Mode.ASSIGN}, timedelta()),
    "in turn": ({"mode": Mode.ROTATE}, timedelta()),
    "offered to several": ({"mode": Mode.FIRST}, timedelta()),
    "assigned to nobody": ({"mode": Mode.ASSIGN, "named": False}, timedelta()),
    "assigned, a rung up": ({"mode": Mode.ASSIGN, "rung": Rung.LEADER}, timedelta()),
    "assigned, nobody accepted in time": ({"mode": Mode.ASSIGN}, timedelta(minutes=10)),
    "assigned, said to be late": ({"mode": Mode.ASSIGN, "late": True}, timedelta()),
    "returned before": ({"returned": True}, timedelta()),
    "critical": ({"opened": draft(severity=Severity.CRITICAL)}, timedelta()),
    "never paused": ({"opened": draft(terms=terms(pause_reasons=()))}, timedelta()),
    "pause is over": ({}, timedelta(hours=1)),
    "taken over by the desk": ({"accepted_by": "u-desk-worked", "helped": False}, timedelta()),
    "up to the street": ({"rung": Rung.STREET}, timedelta()),
    "up to the department": ({"rung": Rung.DEPARTMENT}, timedelta()),
    "long over": ({}, timedelta(days=15, seconds=1)),
    "of the grid": ({"opened": draft(team=Team.GRID)}, timedelta()),
    "of no grid": ({"opened": draft(team=Team.GRID, grid_id=None)}, timedelta()),
    "of the street": ({"opened": draft(team=Team.STREET)}, timedelta()),
    "of the department": ({"opened": draft(team=Team.DEPARTMENT)}, timedelta()),
}
"""What the words of the golden file mean, and how long ago the order was there."""


@cache
def golden() -> dict[tuple[str, OrderState], dict[str, frozenset[str]]]:
    """(situation, state) → person → moves."""
    given = yaml.safe_load(GOLDEN.read_text(encoding="utf-8"))
    groups: dict[str, list[str]] = given["people"]

    def spread(cells: Mapping[str, str]) -> dict[str, frozenset[str]]:
        found: dict[str, frozenset[str]] = {}
        # Groups first: whoever is named alone is meant alone.
        for name in sorted(cells, key=lambda name: name not in groups):
            moves = frozenset() if cells[name] == "nothing" else frozenset(cells[name].split())
            found |= dict.fromkeys(groups.get(name, [name]), moves)
        return found

    whole: dict[tuple[str, OrderState], dict[str, frozenset[str]]] = {}
    for situation, states in given["situations"].items():
        for state, cells in states.items():
            base = whole[cells.pop("like"), OrderState(state)] if "like" in cells else {}
            people = {**base, **spread(cells)}
            whole[situation, OrderState(state)] = people
    return whole


def test_table_golden_knows_every_state_person_and_move() -> None:
    cells = golden()
    assert {state for situation, state in cells if situation == "team"} == set(OrderState)
    assert {situation for situation, _ in cells} == set(SITUATIONS)
    assert {name for people in cells.values() for name in people} <= set(PEOPLE)
    moves = {move for people in cells.values() for moves in people.values() for move in moves}
    assert moves == {move.value for move in Move} - {"create"}


def test_table_every_cell_is_as_written_down(capsys: pytest.CaptureFixture[str]) -> None:
    """State × move × person in every situation: what `decide` does, what is offered, and what is said to whom not."""
    wrong: list[str] = []
    cells = 0
    for (situation, state), expected in golden().items():
        shape, passed = SITUATIONS[situation]
        order, now = order_in(state, **shape), NOW + passed
        for name, actor in PEOPLE.items():
            may = expected.get(name, frozenset())
            offered = {move.value for move in allowed_moves(order, actor, now)}
            if offered != may:
                wrong.append(f"{situation}/{state}/{name}: too many {offered - may}, too few {may - offered}")
            assert set(needs_of(order, actor, now)) == {Move(move) for move in offered}
            for move in Move:
                cells += 1
                found = decide(order, full(move, order.version), actor, now)
                if isinstance(found, Entry) != (move.value in may):
                    wrong.append(f"{situation}/{state}/{name}/{move}: {found}")
                    continue
                _check(order, found, move, now)
    with capsys.disabled():
        print(f"\norders: {cells} cells (situation and state × move × person), {len(wrong)} wrong")  # noqa: T201
    assert wrong == []
    assert cells == len(golden()) * len(PEOPLE) * len(Move) >= 25_000


def _check(order: Order, found: Entry | Refused, move: Move, now: datetime) -> None:
    if isinstance(found, Entry):
        assert (found.version, found.from_state, found.at) == (order.version + 1, order.state, now)
        assert apply(order, found).state is found.to_state
        return
    assert (found.state, found.move) == (order.state, move)
    assert found.reason.zh
    assert found.reason.en
    rows = [row for row in TABLE if row.move is move and order.state in row.sources]
    assert (found.code == "state") == (not rows)
    assert set(found.who) == {who for row in rows for who in row.who}


def test_table_has_one_row_for_a_move_in_a_state() -> None:
    pairs = [(row.move, state) for row in TABLE for state in row.sources]
    assert len(pairs) == len(set(pairs))
    assert {row.move for row in TABLE} == set(Move) - {Move.CREATE}


def test_table_leaves_nobody_waiting() -> None:
    """In every open state somebody of the community can take it on, whoever worked on it before."""
    forward = {"dispatch", "accept", "arrive", "resolve", "resume", "verify", "close", "reopen"}
    for (situation, state), expected in golden().items():
        if state in ("closed", "cancelled", "false_alarm", "merged"):
            continue
        assert expected["desk"] & forward, (situation, state)


def test_table_stands_in_the_documentation() -> None:
    """`python -m services.domain.orders.drawn` writes it."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert drawn_into(text) == text
    with pytest.raises(ValueError, match="table: begin"):
        drawn_into("nothing to be drawn into")
