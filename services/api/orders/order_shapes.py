"""One order with all that is known of it, as one reader may see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.adapters.orders import order_row
from services.api.answers.models import HistoryOut, NamedOut
from services.api.answers.shapes import Row, label, name_shown, order_fields, order_masked
from services.api.orders.models import (
    AlertLinkOut,
    CaseAboveOut,
    ClassOut,
    ClockOut,
    LinkOut,
    LinksOut,
    OrderDetailOut,
    PauseOut,
    WorkerOut,
)
from services.domain.access import ReaderClass
from services.domain.orders import Actor, Clock, Move, Need, Order
from services.domain.orders.clocks import schedule
from services.domain.orders.needs import of_class
from services.domain.orders.pauses import REASONS
from services.domain.vocabulary import Label, Role

_KEPT_BACK = frozenset({"digest", "terms"})
"""Of the history: what tells retries apart, and the class's figures, which stand in `order_class` and `clocks`."""
_CLOCK_LABELS: dict[Clock, Label] = {
    "file": Label("立案", "Filing"),
    "accept": Label("接单", "Acceptance"),
    "arrive": Label("到场", "Arrival"),
    "resolve": Label("处置", "Resolution"),
    "verify": Label("核查", "Verification"),
}


@dataclass(frozen=True, slots=True)
class Around:
    """What stands around an order in the database. `people`: account id to account; `linked`: orders by how."""

    history: Sequence[Row]
    people: Mapping[str, Row]
    linked: Sequence[Row]
    alerts: Sequence[Row]
    cases: Sequence[Row] = ()


def order_detail(row: Row, around: Around, reader: ReaderClass, actor: Actor, now: datetime) -> OrderDetailOut:
    masked = order_masked(row, reader)
    order = order_row(row)
    return OrderDetailOut(
        **order_fields(row, reader, actor, now),
        order_class=None if masked else _class(order),
        clocks=_clocks(order, now),
        offered=[_person(id, around.people, reader) for id in order.offered],
        workers=[_person(id, around.people, reader) for id in order.workers],
        pauses=_pauses(around.history),
        links=_links(around),
        cases=[CaseAboveOut(**one) for one in around.cases],
        history=[_line(line, masked, reader) for line in around.history],
    )


def _line(line: Row, masked: bool, reader: ReaderClass) -> HistoryOut:
    if masked or reader.role is Role.DISPLAY:
        # What people wrote may name anybody.
        return HistoryOut(**{**line, "actor": name_shown(line["actor"], reader), "reason": None, "detail": {}})
    shown = {name: value for name, value in line["detail"].items() if name not in _KEPT_BACK}
    return HistoryOut(**{**line, "detail": shown})


def _class(order: Order) -> ClassOut:
    return ClassOut(
        id=order.terms.class_id,
        version=order.terms.class_version,
        pause_reasons=[_reason(name) for name in order.terms.pause_reasons],
        pause_longest_s=order.terms.pause_longest_s,
        needs={move: sorted(of_class(order, move), key=list(Need).index) for move in Move if of_class(order, move)},
    )


def _reason(name: str) -> NamedOut:
    return NamedOut(name=name, label=label(REASONS.get(name, Label(name, name))))


def _clocks(order: Order, now: datetime) -> list[ClockOut]:
    steps: tuple[tuple[Clock, datetime | None, datetime | None], ...] = (
        ("file", order.file_due, order.filed_at),
        ("accept", order.accept_due, order.accepted_at),
        ("arrive", order.arrive_due, order.arrived_at),
        ("resolve", order.resolve_due, order.resolved_at),
        ("verify", order.verify_due, order.verified_at),
    )
    amber = {owed.clock: owed.at for owed in schedule(order) if owed.what == "warn"}
    # Nothing runs any more once it has ended, and a pause holds every clock where it was.
    seen = order.closed_at if order.ended and order.closed_at else order.paused_at or now
    return [
        ClockOut(
            name=name,
            label=label(_CLOCK_LABELS[name]),
            due=due,
            warn_at=amber.get(name),
            done_at=done,
            left_s=None if done is not None or order.ended else (due - seen).total_seconds(),
            late=(done or seen) > due,
        )
        for name, due, done in steps
        if due is not None
    ]


def _pauses(history: Sequence[Row]) -> list[PauseOut]:
    found: list[PauseOut] = []
    for line in history:
        if found and found[-1].ended_at is None and line["from_state"] == "paused" and line["to_state"] != "paused":
            found[-1] = found[-1].model_copy(update={"ended_at": line["at"]})
        if line["move"] == Move.PAUSE:
            name, until = line["detail"].get("pause_reason"), line["detail"].get("pause_until")
            found.append(
                PauseOut(
                    at=line["at"],
                    reason=_reason(name) if name else None,
                    until=datetime.fromisoformat(until) if until else None,
                    ended_at=None,
                    by=line["actor"],
                )
            )
    return found


def _person(id: str, people: Mapping[str, Row], reader: ReaderClass) -> WorkerOut:
    known = people.get(id)
    shown = name_shown(known["display_name"], reader) if known else id
    return WorkerOut(id=id, name=shown or id, team=known["team"] if known else None)


def _links(around: Around) -> LinksOut:
    def linked(how: str) -> list[LinkOut]:
        return [
            LinkOut(**{name: one[name] for name in LinkOut.model_fields}) for one in around.linked if one["how"] == how
        ]

    return LinksOut(
        parent=next(iter(linked("parent")), None),
        children=linked("child"),
        merged_into=next(iter(linked("merged_into")), None),
        merged=linked("merged"),
        alerts=[AlertLinkOut(**{name: one[name] for name in AlertLinkOut.model_fields}) for one in around.alerts],
    )
