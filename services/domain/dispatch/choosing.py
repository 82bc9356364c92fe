"""Whom an order goes to, among those on duty: by 网格, skill, the way there, what they have in hand, and turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import hypot

from services.domain.dispatch.people import Candidate, in_grid, team_on_duty
from services.domain.dispatch.skills import SKILLS, skills_for
from services.domain.orders.order import Order
from services.domain.orders.states import OrderState
from services.domain.orders.terms import Mode

WALKING_M_S = 1.2
"""Metres a second on foot: what crossings are timed for (MUTCD 2003, 4E.10)."""
IN_HAND_S: Mapping[str, float] = {
    OrderState.DISPATCHED: 300.0,
    OrderState.ACCEPTED: 900.0,
    OrderState.ARRIVED: 600.0,
    OrderState.PAUSED: 120.0,
}
"""By how much an order that somebody has in hand, in this state, puts off their next one, seconds."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Chosen:
    """Account ids, best first. `why` in Chinese and English. Nobody offered: nobody of the team is on duty."""

    mode: Mode
    offered: tuple[str, ...] = ()
    assignee_id: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class _Look:
    """What speaks for one candidate."""

    person: Candidate
    skilled: bool
    away_m: float | None
    seconds: float
    """Until they could be there: the way, and what they have in hand."""

    @property
    def key(self) -> tuple[bool, float, datetime, str]:
        return (not self.skilled, round(self.seconds), self.person.given_at or _LONG_AGO, self.person.id)


def choose(order: Order, candidates: Sequence[Candidate]) -> Chosen:
    """By the mode of the order's terms. Once it was returned it is a forced assignment: to one, and not to whoever
    returned it, unless they are alone."""
    forced = order.forced
    mode = Mode.ASSIGN if forced else order.terms.mode
    people = in_grid(team_on_duty(candidates, order.team), order.team, order.grid_id)
    if not people:
        return Chosen(Mode.TEAM, why="本队无人在岗 · nobody of the team is on duty")
    if forced and (others := tuple(one for one in people if not one.returned)):
        people = others
    match mode:
        case Mode.ASSIGN:
            best = ranked(order, people)[0]
            return Chosen(mode, (best.person.id,), best.person.id, _why(order, best, len(people), forced))
        case Mode.FIRST:
            looks = ranked(order, people)[: max(1, order.terms.offer)]
            words = f"同时派给 {len(looks)} 人，先接先办 · offered to {len(looks)} at once, the first to accept has it"
            return Chosen(mode, tuple(one.person.id for one in looks), None, words)
        case Mode.ROTATE:
            turn = min(people, key=lambda one: (one.given_at or _LONG_AGO, one.id))
            words = f"轮派，在岗 {len(people)} 人 · by turn, {len(people)} on duty"
            return Chosen(mode, (turn.id,), turn.id, words)
        case Mode.GRAB:
            words = f"抢单，在岗 {len(people)} 人 · open to all {len(people)} on duty"
            return Chosen(mode, _longest_waiting_first(people), None, words)
        case Mode.TEAM:
            words = f"全队在岗 {len(people)} 人 · the whole team on duty, {len(people)}"
            return Chosen(mode, _longest_waiting_first(people), None, words)


def ranked(order: Order, people: Sequence[Candidate]) -> list[_Look]:
    """Best first: who has the skill, then who could be there soonest, then who has waited longest for an order."""
    wanted = skills_for(order.kind, order.category)
    ways = {one.id: _away(order, one) for one in people}
    known = [way for way in ways.values() if way is not None]
    # Whoever shares no position is taken to be as far away as the others are on average: it costs nothing to say
    # where one is, and nothing to keep it to oneself.
    usual = sum(known) / len(known) if known else 0.0
    looks = []
    for one in people:
        way = ways[one.id]
        busy = sum(IN_HAND_S.get(state, 0.0) * times for state, times in one.in_hand.items())
        seconds = (usual if way is None else way) / WALKING_M_S + busy
        looks.append(_Look(one, not wanted or bool(wanted & one.skills), way, seconds))
    return sorted(looks, key=lambda look: look.key)


def _away(order: Order, person: Candidate) -> float | None:
    if order.x is None or order.y is None or person.x is None or person.y is None:
        return None
    return hypot(order.x - person.x, order.y - person.y)


def _longest_waiting_first(people: Sequence[Candidate]) -> tuple[str, ...]:
    return tuple(one.id for one in sorted(people, key=lambda one: (one.given_at or _LONG_AGO, one.id)))


def _why(order: Order, best: _Look, of: int, forced: bool) -> str:
    zh, en = ["强制派单"] if forced else [], ["forced"] if forced else []
    if of == 1:
        zh.append("在岗唯一人选")
        en.append("the only one on duty")
    if order.grid_id is not None and best.person.grid_id == order.grid_id:
        zh.append("本网格")
        en.append("of this grid")
    matched = sorted(skills_for(order.kind, order.category) & best.person.skills)
    if matched:
        zh.append("技能：" + "、".join(SKILLS[name].zh for name in matched))
        en.append("skill: " + ", ".join(SKILLS[name].en for name in matched))
    if best.away_m is not None:
        zh.append(f"距现场约 {best.away_m:.0f} 米")
        en.append(f"about {best.away_m:.0f} m away")
    in_hand = sum(best.person.in_hand.values())
    zh.append(f"在办 {in_hand} 单")
    en.append(f"{in_hand} in hand")
    return "，".join(zh) + " · " + ", ".join(en)
