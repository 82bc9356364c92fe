"""Which events of the outbox make notices for whom: pure, from what the event, its order and the accounts say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from services.domain.access import PERMISSIONS, Permission
from services.domain.notices.of_commands import Said, To, said_of
from services.domain.notices.templates import MASKED_TITLE, TEMPLATES
from services.domain.notices.timing import turn_wait_s
from services.domain.orders.clocks import running
from services.domain.orders.order import Entry, Order, Source
from services.domain.orders.states import Move
from services.domain.orders.terms import Mode, Rung
from services.domain.reports.words import Step, said, step_of
from services.domain.vocabulary import TEAM_LABELS, Label, Role, Severity, Team

NAMESPACE = UUID("6c1c6f0e-7b57-5d0c-9f0b-6a3b1f2f9d10")


@dataclass(frozen=True, slots=True)
class Event:
    """One row of the outbox."""

    seq: int
    type: str
    community_id: str
    subject: str
    correlation: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Account:
    id: str
    role: Role
    team: Team | None
    grid_id: str | None = None
    household_id: str | None = None


@dataclass(frozen=True, slots=True)
class Follower:
    """Somebody whose report is worked on in an order. `recipient`: account:…, or report:… for a telephone number."""

    report_id: UUID
    number: int
    recipient: str
    since: datetime


@dataclass(frozen=True, slots=True)
class OrderFacts:
    """The order as it stands, and the line of its history that the event tells of.

    `reached`: who is on duty, asked where the line names nobody. `health`: it is about somebody's health.
    """

    order: Order
    number: int
    entry: Entry
    health: bool
    reached: tuple[str, ...] = ()
    reporters: tuple[Follower, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertFacts:
    id: UUID
    severity: Severity
    title: Label
    place: str
    health: bool
    household_id: str | None = None
    contacts: tuple[str, ...] = ()
    """Recipients outside of the accounts: emergency contacts and residents of the home."""


@dataclass(frozen=True, slots=True)
class Draft:
    """One notice to one person. `recipient`: account:…, contact:…, person:… or report:…; `turn` counts from 0."""

    id: UUID
    event: Event
    recipient: str
    template: str
    severity: Severity
    params: Mapping[str, Any] = field(default_factory=dict)
    turn: int = 0
    wait_s: float = 0.0
    expires_s: float = 3600.0
    order_id: UUID | None = None
    alert_id: UUID | None = None

    def not_before(self, now: datetime) -> datetime:
        return now + timedelta(seconds=self.wait_s)


def notice_id(seq: int | str, recipient: str, template: str) -> UUID:
    """The same event tells the same person the same thing once, however often it is read."""
    return uuid5(NAMESPACE, f"{seq}|{recipient}|{template}")


def audience(
    event: Event,
    accounts: Sequence[Account],
    order: OrderFacts | None = None,
    alert: AlertFacts | None = None,
    timezone: str = "Asia/Shanghai",
) -> list[Draft]:
    """The notices of one event, each person once, in their turn; none for what is nobody's business."""
    family, _, what = event.type.partition(".")
    if family == "order" and order is not None:
        return _of_order(event, what, accounts, order)
    if family == "report" and order is not None:
        return _of_report(event, what, accounts, order)
    if family == "command" and (said := said_of(event.type, event.data)) is not None:
        return _of_command(event, said, accounts)
    match event.type:
        case "notice.requested":
            return _of_plan(event, accounts, alert)
        case "alert.ask" if alert is not None:
            return _of_question(event, accounts, alert)
        case "roster.gap":
            return _of_gap(event, accounts, timezone)
    return []


def undelivered(
    event: Event, told: OrderFacts | AlertFacts, to: Iterable[str], accounts: Sequence[Account]
) -> list[Draft]:
    """To the desk: somebody was not reached, and no rung is left that could be asked in their place."""
    why = {"why": ", ".join(sorted(to))[:120]}
    desk = _desk(accounts)
    if isinstance(told, OrderFacts):
        return _drafts(event, desk, "undelivered", told.order.severity, _params(told) | why, order=told.order)
    title = MASKED_TITLE if told.health else told.title
    params = {"title": _label(title), "place": told.place} | why
    return _drafts(event, desk, "unreached", told.severity, params, alert_id=told.id)


# -- orders -------------------------------------------------------------------------------------------------------


def _of_order(event: Event, what: str, accounts: Sequence[Account], told: OrderFacts) -> list[Draft]:
    order, entry = told.order, told.entry
    named = tuple(entry.detail.get("people") or ())
    params = _params(told)
    made: list[Draft] = []
    people: tuple[str, ...]

    def tell(people: Iterable[str], template: str, *, turns: bool = False) -> None:
        # Whoever did it knows.
        others = [one for one in dict.fromkeys(people) if one != entry.actor_id]
        made.extend(_drafts(event, others, template, order.severity, params, order=order, turns=turns))

    match what:
        case "dispatch" | "transfer" | "reopen":
            template = "reopen" if what == "reopen" else "dispatch"
            assigned = entry.detail.get("assignee_id") or (order.assignee_id if what == "reopen" else None)
            people = named or ((assigned,) if assigned else ()) or told.reached or _team(accounts, order)
            tell(people, template, turns=order.mode is not Mode.GRAB)
        case "assign":
            tell([one for one in (entry.detail.get("assignee_id") or order.assignee_id, *named) if one], "assign")
        case "warn" | "urge":
            tell(_at_work(accounts, told), what)
        case "breach":
            tell(named or _at_work(accounts, told), "breach")
        case "escalate":
            rung = Rung(entry.detail.get("rung") or min(max(order.rung, 0), max(Rung)))
            tell(named or told.reached or _rung(accounts, order, rung), "escalate")
        case "resume" if entry.detail.get("alert_id"):
            # It called again while it was paused: whoever let it wait is wanted there.
            tell(_at_work(accounts, told), "resume")
        case "note" if entry.detail.get("alert_id"):
            # A plan says what has not been shown to be done: whoever is on the way must not rely on it.
            params["why"] = None if told.health else entry.detail.get("note")
            # And when it has been, after all.
            tell(_at_work(accounts, told), "confirmed" if entry.detail.get("outcome") == "confirmed" else "caution")
        case "return":
            tell(_desk(accounts), "return")
        case "resolve":
            tell((*_desk(accounts), *_grid(accounts, order.grid_id)), "verify", turns=True)
        case "cancel" | "merge" | "false_alarm":
            tell([order.assignee_id] if order.assignee_id else [], "over")
    return made + _progress(event, told)


def _progress(event: Event, told: OrderFacts) -> list[Draft]:
    """To those who reported it: what this step means to them, by the number of their report.

    That it was received they were told in answer; that it goes to somebody else than before is the house's business.
    The reason of a refusal or a cancellation is told where the desk wrote it for residents.
    """
    order, entry = told.order, told.entry
    step = step_of(entry.move, filed=order.filed_at is not None)
    if step in (None, Step.RECEIVED) or (entry.move is Move.DISPATCH and entry.at != order.filed_at):
        return []
    written = step in (Step.REFUSED, Step.CANCELLED) and order.source is Source.RESIDENT and not told.health
    made: dict[str, Draft] = {}
    for one in told.reporters:
        if one.recipient in made or one.recipient == f"account:{entry.actor_id}" or one.since > entry.at:
            continue
        made[one.recipient] = _step(event, told, one, step, entry.reason if written else None)
    return list(made.values())


def _step(event: Event, told: OrderFacts, to: Follower, step: Step, reason: str | None = None) -> Draft:
    title = MASKED_TITLE if told.health else told.order.title
    params = {"title": _label(title), "text": _label(said(step, to.number, reason))}
    (draft,) = _drafts(event, [to.recipient], "report", Severity.MINOR, params, order=told.order, whole=True)
    return draft


def _of_report(event: Event, what: str, accounts: Sequence[Account], told: OrderFacts) -> list[Draft]:
    """What a reporter says that the desk has to answer; and what the desk did with a report, to its reporter."""
    if what == "joined":
        mine = [one for one in told.reporters if str(one.report_id) == event.data["report_id"]]
        return [_step(event, told, one, Step.JOINED) for one in mine]
    if what not in ("unsatisfied", "urged"):
        return []
    params = _params(told)
    if what == "unsatisfied":
        params["why"] = f"{event.data['rating']}/5"
    return _drafts(event, _desk(accounts), what, told.order.severity, params, order=told.order)


def _params(told: OrderFacts) -> dict[str, Any]:
    """What may be said of an order: never what a health rule found, nor what somebody wrote about it."""
    order = told.order
    clock, due = next(iter(running(order)), (None, None))
    return {
        "number": told.number,
        "title": _label(MASKED_TITLE if told.health else order.title),
        "place": order.place,
        "clock": clock,
        "due": due.isoformat() if due else None,
        "why": None if told.health else told.entry.reason,
    }


def _at_work(accounts: Sequence[Account], told: OrderFacts) -> tuple[str, ...]:
    order = told.order
    if order.assignee_id:
        return (order.assignee_id,)
    return order.offered or told.reached or _team(accounts, order)


def _team(accounts: Sequence[Account], order: Order) -> tuple[str, ...]:
    """Everybody of the order's team; for 网格, those of the place's. The desk where there is nobody."""
    if order.team is Team.GRID:
        found = _grid(accounts, order.grid_id) or tuple(one.id for one in accounts if one.role is Role.GRID)
    elif order.team in (Team.STREET, Team.DEPARTMENT):
        found = tuple(one.id for one in accounts if one.role is Role.STREET)
    elif order.team is Team.DESK:
        found = _desk(accounts)
    else:
        found = tuple(one.id for one in accounts if one.role is Role.STAFF and one.team is order.team)
    return found or _desk(accounts)


def _rung(accounts: Sequence[Account], order: Order, rung: Rung) -> tuple[str, ...]:
    if rung in (Rung.TEAM, Rung.LEADER):
        return _team(accounts, order)
    if rung in (Rung.STREET, Rung.DEPARTMENT):
        found = tuple(one.id for one in accounts if one.role is Role.STREET)
        return found or _desk(accounts)
    return _desk(accounts)


def _desk(accounts: Sequence[Account]) -> tuple[str, ...]:
    """The desk; where there is none, the administrators: somebody is always told."""
    found = tuple(one.id for one in accounts if one.role is Role.DESK)
    return found or tuple(one.id for one in accounts if one.role is Role.ADMIN)


def _grid(accounts: Sequence[Account], grid_id: str | None) -> tuple[str, ...]:
    return tuple(one.id for one in accounts if one.role is Role.GRID and one.grid_id == grid_id and grid_id is not None)


# -- others ------------------------------------------------------------------------------------------------------


def _of_plan(event: Event, accounts: Sequence[Account], alert: AlertFacts | None) -> list[Draft]:
    severity = alert.severity if alert else Severity.MAJOR
    recipients = [_recipient(one) for one in event.data.get("recipients", ())]
    if not recipients:
        recipients = [f"account:{one}" for one in _desk(accounts)]
    if alert is not None and alert.health:
        # The plan's own words may have the alert's title in them.
        title = _label(MASKED_TITLE)
        text = {"zh": "请尽快联系或查看。", "en": "Please call or look in as soon as you can."}
    else:
        title = _label(alert.title) if alert else {"zh": "通知", "en": "Notice"}
        text = dict(event.data.get("text") or {"zh": "", "en": ""})
    params = {"title": title, "text": text, "place": alert.place if alert else None}
    step = str(event.data.get("step", ""))
    return _drafts(
        event, recipients, "plan", severity, params, alert_id=alert.id if alert else None, more=step, whole=True
    )


def _recipient(one: Mapping[str, Any]) -> str:
    if one.get("user"):
        return f"account:{one['id']}"
    return f"contact:{one['id']}" if one.get("contact") else f"person:{one['id']}"


def _of_question(event: Event, accounts: Sequence[Account], alert: AlertFacts) -> list[Draft]:
    home = event.data.get("household_id")
    people = [f"account:{one.id}" for one in accounts if home is not None and one.household_id == home]
    params = {
        "title": _label(MASKED_TITLE if alert.health else alert.title),
        "place": alert.place,
        "due": event.data.get("until"),
    }
    return _drafts(event, (*people, *alert.contacts), "ask", alert.severity, params, alert_id=alert.id, whole=True)


def _of_command(event: Event, said: Said, accounts: Sequence[Account]) -> list[Draft]:
    by = event.data.get("by")
    if said.to is To.SECOND:
        # Everybody who may, and never whoever asked: where nobody else is left, the desk is told that it waits.
        people = tuple(
            one.id for one in accounts if Permission.COMMAND_APPROVE in PERMISSIONS[one.role] and one.id != by
        ) or _desk(accounts)
    else:
        people = (*_desk(accounts), *(one.id for one in accounts if one.id == by))
    params = {"text": _label(said.text)}
    return _drafts(event, people, said.template, said.severity, params, key=said.once)


def _of_gap(event: Event, accounts: Sequence[Account], timezone: str) -> list[Draft]:
    data = event.data
    team = TEAM_LABELS[Team(data["team"])]
    here = ZoneInfo(timezone)
    start, end = (f"{datetime.fromisoformat(data[name]).astimezone(here):%m-%d %H:%M}" for name in ("from", "to"))
    text = {"zh": f"{team.zh} {start} 至 {end} 无人值班", "en": f"{team.en}: nobody on duty {start} to {end}"}
    return _drafts(event, _desk(accounts), "roster", Severity.MAJOR, {"text": text})


def _drafts(
    event: Event,
    people: Iterable[str],
    template: str,
    severity: Severity,
    params: Mapping[str, Any],
    *,
    order: Order | None = None,
    alert_id: UUID | None = None,
    turns: bool = False,
    more: str = "",
    whole: bool = False,
    key: str = "",
) -> list[Draft]:
    """`whole`: the recipients say themselves what sort they are. `turns`: not critical ones are told one by one.
    `key`: what is told once, where several events tell of it."""
    kind = TEMPLATES[template]
    grade = min(severity, kind.cap, key=lambda one: one.rank)
    wait_s = turn_wait_s(grade) if turns else 0.0
    found = dict.fromkeys(one if whole else f"account:{one}" for one in people)
    return [
        Draft(
            notice_id(key or f"{event.seq}{':' if more else ''}{more}", recipient, template),
            event,
            recipient,
            template,
            grade,
            {name: value for name, value in params.items() if value},
            turn if turns else 0,
            turn * wait_s,
            turn * wait_s + kind.expires_s,
            order.id if order else None,
            alert_id if alert_id else order.alert_id if order else None,
        )
        for turn, recipient in enumerate(found)
    ]


def _label(label: Label) -> dict[str, str]:
    return {"zh": label.zh, "en": label.en}
