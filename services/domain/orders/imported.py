"""An old system's record of one order as a history of ours: every step through the table of moves and the fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from services.domain.ids import CommunityId, DeviceNo, OrderId
from services.domain.orders.folding import apply
from services.domain.orders.moves import SYSTEM, Actor, MoveRequest, Refused, decide
from services.domain.orders.order import Draft, Entry, Order, Source, created
from services.domain.orders.pauses import REASONS
from services.domain.orders.states import Move
from services.domain.orders.terms import Clock, ClockTerm, Rung, Terms
from services.domain.vocabulary import Label, Role, Severity, Team

_NAMESPACE = UUID("6f1d6c0e-3f0a-4f0b-9d55-0c6a1d7e2b90")
IMPORTER = "import"
"""Who opened an imported order, as its history says."""

_WORK = frozenset({Move.ACCEPT, Move.ARRIVE, Move.RESOLVE, Move.RETURN, Move.PAUSE, Move.RESUME, Move.FALSE_ALARM})


class ImportFault(ValueError):
    """Why this record cannot be taken over; the words are for whoever mends the file."""


def _blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Text = Annotated[
    Annotated[str, StringConstraints(max_length=500, strip_whitespace=True)] | None, BeforeValidator(_blank)
]
Time = Annotated[datetime | None, BeforeValidator(_blank)]
Seconds = Annotated[Annotated[int, Field(gt=0, le=31_622_400)] | None, BeforeValidator(_blank)]
Stars = Annotated[Annotated[int, Field(ge=1, le=5)] | None, BeforeValidator(_blank)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class MoveLine(_Strict):
    """One step. `by` is a user name or account id here; without it, whoever the step belongs to."""

    move: Move
    at: datetime
    by: Text = None
    reason: Text = None
    note: Text = None
    place: Text = None
    team: Team | None = None
    assignee: Text = None
    severity: Severity | None = None
    clock: Text = None
    rung: Rung | None = None
    forced: bool = False
    merge_into: Text = None
    pause_reason: Text = None
    pause_until: Time = None
    rating: Stars = None
    outcome: Literal["satisfied", "unsatisfied", "unreached"] | None = None


class OrderLine(_Strict):
    """One order: what it is, and either its `moves` or the times of its steps. Times without an offset are local."""

    external_id: Annotated[str, StringConstraints(min_length=1, max_length=128, strip_whitespace=True)]
    source: Literal["platform", "staff", "resident", "patrol"]
    title: Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
    title_en: Text = None
    team: Team
    severity: Severity = Severity.MINOR
    kind: Annotated[str, BeforeValidator(lambda value: _blank(value) or "report"), Field(max_length=64)] = "report"
    category: Text = None
    place: Text = None
    building: Text = None
    grid: Text = None
    device: Text = None
    created_at: datetime
    moves: tuple[MoveLine, ...] | None = None
    dispatched_at: Time = None
    accepted_at: Time = None
    accepted_by: Text = None
    arrived_at: Time = None
    resolved_at: Time = None
    resolved_by: Text = None
    verified_at: Time = None
    verified_by: Text = None
    closed_at: Time = None
    closed_by: Text = None
    cancelled_at: Time = None
    false_alarm_at: Time = None
    reason: Text = None
    call_back: Annotated[Literal["satisfied", "unsatisfied", "unreached"] | None, BeforeValidator(_blank)] = None
    rating: Stars = None
    accept_due_s: Seconds = None
    arrive_due_s: Seconds = None
    resolve_due_s: Seconds = None
    verify_due_s: Seconds = None

    def steps(self) -> tuple[MoveLine, ...]:
        if self.moves is not None:
            return self.moves
        ended = self.closed_at or self.cancelled_at or self.false_alarm_at
        found: tuple[tuple[Move, datetime | None, dict[str, Any]], ...] = (
            (Move.DISPATCH, self.dispatched_at, {}),
            (Move.ACCEPT, self.accepted_at, {"by": self.accepted_by}),
            (Move.ARRIVE, self.arrived_at, {"by": self.accepted_by}),
            (Move.RESOLVE, self.resolved_at, {"by": self.resolved_by or self.accepted_by}),
            (Move.VERIFY, self.verified_at, {"by": self.verified_by}),
            (Move.CALL_BACK, ended if self.call_back else None, {"outcome": self.call_back}),
            (Move.CLOSE, self.closed_at, {"by": self.closed_by}),
            (Move.CANCEL, self.cancelled_at, {"reason": self.reason}),
            (Move.FALSE_ALARM, self.false_alarm_at, {"reason": self.reason}),
            (Move.RATE, ended if self.rating else None, {"rating": self.rating}),
        )
        return tuple(MoveLine(move=move, at=at, **more) for move, at, more in found if at is not None)


COLUMNS: tuple[str, ...] = tuple(name for name in OrderLine.model_fields if name != "moves")
"""Of a file in CSV."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the community has that a record may name. `devices`: id → (number, building, 网格)."""

    community_id: CommunityId
    timezone: str
    buildings: Mapping[str, str] = field(default_factory=dict)
    grids: frozenset[str] = frozenset()
    devices: Mapping[str, tuple[int, str | None, str | None]] = field(default_factory=dict)
    people: Mapping[str, Actor] = field(default_factory=dict)
    forgive_people: bool = False
    """People nobody knows count as their team, instead of being a fault."""


def order_id(community_id: str, source: str, external_id: str) -> OrderId:
    """The same for the same record, so that importing twice is importing once."""
    return OrderId(uuid5(_NAMESPACE, f"{community_id}\n{source}\n{external_id}"))


def stand_in(community_id: str, team: Team) -> str:
    """The account that stands for a team's people of old."""
    return f"import-{community_id}-{team.value}"


def read_line(raw: Mapping[str, Any]) -> OrderLine:
    """Raises ImportFault with every fault of the record's shape."""
    try:
        return OrderLine.model_validate(raw)
    except ValidationError as error:
        told = (f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        raise ImportFault("; ".join(told)) from None


def draft_of(line: OrderLine, known: Known) -> Draft:
    """Raises ImportFault where it names a place or device that is not there."""
    building, grid, number = line.building, line.grid, None
    if line.device is not None:
        if line.device not in known.devices:
            raise ImportFault(f"device: 没有设备 {line.device} · no device {line.device} in {known.community_id}")
        number, its_building, its_grid = known.devices[line.device]
        building, grid = building or its_building, grid or its_grid
    if building is not None:
        if building not in known.buildings:
            raise ImportFault(f"building: 没有楼栋 {building} · no building {building} in {known.community_id}")
        grid = grid or known.buildings[building]
    if grid is not None and grid not in known.grids:
        raise ImportFault(f"grid: 没有网格 {grid} · no grid {grid} in {known.community_id}")
    return Draft(
        id=order_id(known.community_id, line.source, line.external_id),
        community_id=known.community_id,
        source=Source(line.source),
        kind=line.kind,
        severity=line.severity,
        title=Label(line.title, line.title_en or line.title),
        team=line.team,
        correlation=f"import:{line.external_id}",
        place=line.place or "",
        device_no=DeviceNo(number) if number is not None else None,
        building_id=building,
        grid_id=grid,
        category=line.category,
        external_id=line.external_id,
    )


def terms_of_old(line: OrderLine, terms: Terms) -> Terms:
    """The class's terms with the record's own deadlines; what the class asks of a move today was not asked then.

    An old system's time to resolve is what lay between two of its timestamps: such an order runs by the wall clock,
    not in working hours that it knew nothing of.
    """
    clocks: dict[Clock, ClockTerm] = dict(terms.clocks)
    given: tuple[tuple[Clock, int | None], ...] = (
        ("accept", line.accept_due_s),
        ("arrive", line.arrive_due_s),
        ("resolve", line.resolve_due_s),
        ("verify", line.verify_due_s),
    )
    for clock, seconds in given:
        if seconds is not None:
            steps = clocks[clock].steps if clock in clocks else ()
            clocks[clock] = ClockTerm(seconds, seconds // 4, steps)
    spans = terms.spans if line.resolve_due_s is None else ()
    return replace(terms, clocks=clocks, spans=spans, needs={}, pause_reasons=tuple(REASONS), pause_longest_s=0)


def history_of(
    line: OrderLine, known: Known, now: datetime, terms_for: Callable[[Draft], Terms]
) -> tuple[Order, tuple[Entry, ...]]:
    """The whole history of the record, and the order it folds into. Raises ImportFault at its first illegal step."""
    zone = ZoneInfo(known.timezone)
    draft = draft_of(line, known)
    draft = replace(draft, terms=terms_of_old(line, terms_for(draft)))
    at = _local(line.created_at, zone)
    if at > now:
        raise ImportFault(f"created_at: {at.isoformat()} 在将来 · is in the future")
    entries = [created(draft, at, IMPORTER, SYSTEM.role_name)]
    order = apply(None, entries[0])
    for number, step in enumerate(line.steps(), start=1):
        where = f"moves.{number} {step.move.value}"
        at = _local(step.at, zone)
        if at < entries[-1].at:
            raise ImportFault(f"{where}: {at.isoformat()} 早于上一步 · is before the step before it")
        if at > now:
            raise ImportFault(f"{where}: {at.isoformat()} 在将来 · is in the future")
        entry = _entry(order, step, at, known, where)
        entries.append(entry)
        order = apply(order, entry)
    return order, tuple(entries)


def _local(at: datetime, zone: ZoneInfo) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=zone)


def _entry(order: Order, step: MoveLine, at: datetime, known: Known, where: str) -> Entry:
    assignee = _person(step.assignee, known, where)
    into = order_id(known.community_id, order.source.value, step.merge_into) if step.merge_into else None
    request = MoveRequest(
        move=step.move,
        version=order.version,
        reason=step.reason,
        note=step.note,
        place=step.place,
        team=step.team or (order.team if step.move is Move.DISPATCH else None),
        assignee_id=assignee.id if assignee else None,
        severity=step.severity.value if step.severity else None,
        merge_into=into,
        clock=step.clock,
        forced=step.forced,
        rung=step.rung,
        pause_reason=step.pause_reason,
        pause_until=_local(step.pause_until, ZoneInfo(known.timezone)) if step.pause_until else None,
        rating=step.rating,
        outcome=step.outcome,
    )
    person = _person(step.by, known, where)
    refused: Refused | None = None
    for actor in (person,) if person is not None else _actors(order, step.move):
        entry = decide(order, request, actor, at)
        if isinstance(entry, Entry):
            return entry
        refused = refused or entry
    raise ImportFault(f"{where}: {refused.reason.zh} · {refused.reason.en}" if refused else where)


def _person(name: str | None, known: Known, where: str) -> Actor | None:
    if name is None:
        return None
    person = known.people.get(name)
    if person is None and not known.forgive_people:
        raise ImportFault(f"{where}: 没有账号 {name} · no account {name} in {known.community_id}")
    return person


def _actors(order: Order, move: Move) -> tuple[Actor, ...]:
    """Who a step without a name may have been made by, likeliest first."""
    community = order.community_id
    desk = Actor(stand_in(community, Team.DESK), Role.DESK, Team.DESK, community)
    if move in _WORK:
        own = stand_in(community, order.team)
        if order.team is Team.GRID:
            return Actor(own, Role.GRID, Team.GRID, community, order.grid_id or "-", leads=True), desk
        return Actor(own, Role.STAFF, order.team, community, leads=True), desk
    if move is Move.VERIFY:
        return (Actor(f"import-{community}-check", Role.DESK, Team.DESK, community),)
    if move is Move.RATE:
        return (Actor(f"import-{community}-resident", Role.RESIDENT, None, community, reporter=True), SYSTEM)
    return SYSTEM, desk
