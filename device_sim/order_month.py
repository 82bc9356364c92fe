"""A believable month of a community's order histories, made from a seed: what an old system would hand over.

One JSON object an order, in the format of docs/orders-import.md: `python -m device_sim.order_month 2026-10`.
"""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from device_sim.presets import BY_NAME
from device_sim.presets.generate import DEFAULT_SEED, generate
from services.domain.kpis import Days
from services.domain.registry import Building, Community

ZONE = ZoneInfo("Asia/Shanghai")
_PER_HOUSEHOLD = 0.42
"""Orders a household and month: 1,054 in a community of 2,510, as a published pilot had."""


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort of trouble: how often, whose, how bad, how long people take (medians, seconds), by when it is due."""

    weight: float
    category: str
    title: str
    title_en: str
    team: str
    severity: str = "minor"
    arrive_s: float = 2400
    work_s: float = 3600
    due_s: int = 86_400
    indoors: bool = False
    parts: float = 0.0
    """Share that wait for parts or for somebody."""


SORTS: tuple[Sort, ...] = (
    Sort(14, "water_leak", "水管渗漏", "Leaking pipe", "maintenance", work_s=5400, indoors=True, parts=0.06),
    Sort(
        11, "corridor_lamp", "楼道灯不亮", "Stairwell light out", "maintenance", work_s=2400, due_s=172_800, parts=0.04
    ),
    Sort(9, "lift_fault", "电梯异响", "Lift makes noise", "maintenance", "major", 1200, 9000, 86_400, parts=0.12),
    Sort(6, "door_access", "单元门禁失灵", "Entrance lock fails", "maintenance", work_s=4200, parts=0.08),
    Sort(13, "rubbish", "垃圾堆放", "Rubbish left lying", "cleaning", arrive_s=1800, work_s=1500, due_s=28_800),
    Sort(7, "drain_blocked", "下水道堵塞", "Blocked drain", "cleaning", "major", 1500, 4800, 43_200, indoors=True),
    Sort(9, "illegal_parking", "乱停车占道", "Car in the way", "patrol", arrive_s=540, work_s=900, due_s=14_400),
    Sort(
        5, "wired_charging", "电动车飞线充电", "E-bike charged by a flying lead", "patrol", "major", 480, 1500, 14_400
    ),
    Sort(6, "noise", "噪声扰民", "Noise", "patrol", arrive_s=600, work_s=1200, due_s=14_400),
    Sort(6, "greenery", "树枝遮挡", "Branches in the way", "environment", work_s=7200, due_s=259_200, parts=0.05),
    Sort(4, "manhole", "井盖松动", "Loose manhole cover", "environment", "critical", 420, 3000, 14_400),
    Sort(6, "elder_help", "老人代办事项", "Errand for an old person", "general", work_s=2700, due_s=86_400),
    Sort(4, "help", "邻里纠纷", "Dispute between neighbours", "grid", arrive_s=3000, work_s=5400, due_s=259_200),
)
_HOURS = (1, 1, 1, 1, 1, 2, 5, 10, 16, 18, 17, 14, 9, 9, 12, 14, 14, 13, 13, 14, 12, 8, 4, 2)
"""How busy each hour of the day is."""
_ACCEPT_DUE = {"critical": 60, "major": 600, "minor": 600}
_ARRIVE_DUE = {"critical": 600, "major": 7200, "minor": 7200}
_REWORK = ("复核仍有渗漏", "现场未清理干净", "住户反映问题仍在")
_RETURN = ("非本队职责", "现场无法进入", "需专业单位处理")


def month(community: Community, days: Days, seed: int, *, share: float = 1.0) -> Iterator[dict[str, Any]]:
    """Orders by the time they were opened. The same arguments give the same month."""
    chance = random.Random(f"{seed}:{community.id}:{days.first}")
    count = round(len(community.households) * _PER_HOUSEHOLD * share)
    opened = sorted(_opened(chance, days) for _ in range(count))
    for number, at in enumerate(opened, start=1):
        yield _order(chance, f"{days.first:%Y%m}-{number:05d}", at, community)


def _opened(chance: random.Random, days: Days) -> datetime:
    weights = [(0.78 if day.weekday() >= 5 else 1.0) * (1 + 0.25 * math.sin(day.day / 4)) for day in days.days]
    day: date = chance.choices(days.days, weights)[0]
    hour = chance.choices(range(24), _HOURS)[0]
    at = datetime(day.year, day.month, day.day, hour, tzinfo=ZONE)
    return at + timedelta(seconds=chance.randrange(3600))


def _about(chance: random.Random, median: float, spread: float = 0.6) -> timedelta:
    return timedelta(seconds=round(max(5.0, median * math.exp(chance.gauss(0, spread)))))


def _order(chance: random.Random, name: str, at: datetime, community: Community) -> dict[str, Any]:
    sort: Sort = chance.choices(SORTS, [one.weight for one in SORTS])[0]
    source = chance.choices(("resident", "platform", "patrol", "staff"), (58, 18, 16, 8))[0]
    building: Building = chance.choices(community.buildings, _busy(community.buildings))[0]
    return {
        "external_id": name,
        "source": source,
        "category": sort.category,
        "severity": sort.severity,
        "title": sort.title,
        "title_en": sort.title_en,
        "team": sort.team,
        "place": f"{building.name}室内" if sort.indoors else f"{building.name}旁",
        "building": building.id,
        "created_at": at.isoformat(),
        "accept_due_s": _ACCEPT_DUE[sort.severity],
        "arrive_due_s": _ARRIVE_DUE[sort.severity],
        "resolve_due_s": sort.due_s,
        "verify_due_s": sort.due_s + 172_800,
        "moves": list(_moves(chance, sort, source, at)),
    }


def _busy(buildings: Sequence[Building]) -> list[float]:
    """A few buildings are old and give most of the work."""
    return [3.5 if number % 11 == 3 else 1.0 + number % 4 * 0.3 for number in range(len(buildings))]


def _moves(chance: random.Random, sort: Sort, source: str, at: datetime) -> Iterator[dict[str, Any]]:
    def step(move: str, **more: Any) -> dict[str, Any]:
        return {"move": move, "at": at.isoformat(), **more}

    if chance.random() < 0.052:
        # Not filed: asked and answered, or not the community's business.
        at += _about(chance, 1800)
        yield step("cancel", reason="咨询类，已当场答复")
        return
    at += _about(chance, 40)
    yield step("dispatch")
    if chance.random() < 0.035:
        at += _about(chance, 900)
        yield step("return", reason=chance.choice(_RETURN))
        at += _about(chance, 600)
        yield step("dispatch", forced=True)
    if chance.random() < 0.012:
        at += _about(chance, 400)
        yield step("cancel", reason="重复上报")
        return
    quick = 14 if sort.severity == "critical" else 24
    night = not 7 <= at.hour < 22
    accepted = at + _about(chance, quick * (4 if night else 1), 0.75)
    limit = timedelta(seconds=_ACCEPT_DUE[sort.severity])
    if accepted - at > limit:
        at += limit
        yield step("breach", clock="accept")
        yield step("escalate", rung=1, clock="accept")
    at = max(at, accepted)
    yield step("accept")
    yield from _work(chance, sort, source, at)


def _work(chance: random.Random, sort: Sort, source: str, at: datetime) -> Iterator[dict[str, Any]]:
    def step(move: str, **more: Any) -> dict[str, Any]:
        return {"move": move, "at": at.isoformat(), **more}

    urged = source == "resident" and chance.random() < 0.05
    at += _about(chance, sort.arrive_s, 0.55)
    yield step("arrive")
    if urged:
        at += _about(chance, 1200)
        yield step("urge", reason="居民催办")
    if chance.random() < sort.parts:
        at += _about(chance, 1200)
        yield step(
            "pause", pause_reason=chance.choice(("waiting_parts", "waiting_resident")), reason="待配件或住户在家"
        )
        if chance.random() < 0.35:
            return  # still waiting
        at += _about(chance, 86_400)
        yield step("resume")
    stuck = chance.random()
    if stuck < 0.045:
        return  # nobody finished it
    at += _about(chance, sort.work_s * (9 if stuck < 0.24 else 1), 0.7)
    yield step("resolve", note="已处理")
    again = chance.random() < 0.04
    if again:
        at = _office(at + _about(chance, 7200))
        yield step("reopen", reason=chance.choice(_REWORK))
        at += _about(chance, 300)
        yield step("accept")
        at += _about(chance, sort.arrive_s, 0.5)
        yield step("arrive")
        at += _about(chance, sort.work_s)
        yield step("resolve", note="已返工")
    at = _office(at + _about(chance, 5400))
    yield step("verify")
    if source == "resident" and chance.random() < 0.82:
        at += _about(chance, 1200)
        outcome = chance.choices(("satisfied", "unsatisfied", "unreached"), (84, 5, 11))[0]
        yield step("call_back", outcome=outcome)
    at += _about(chance, 600)
    yield step("close")
    if source == "resident" and chance.random() < 0.46:
        at += _about(chance, 14_400, 0.9)
        stars = (8, 14, 30, 30, 18) if again else (3, 4, 9, 30, 54)
        yield step("rate", rating=chance.choices((1, 2, 3, 4, 5), stars)[0])


def _office(at: datetime) -> datetime:
    """Checks are made by day: from eight in the morning to ten at night."""
    if at.hour < 8:
        return at.replace(hour=8, minute=at.minute)
    return (at + timedelta(days=1)).replace(hour=8) if at.hour >= 22 else at


def until(orders: Iterator[dict[str, Any]], now: datetime) -> Iterator[dict[str, Any]]:
    """What was known of them then: later steps are still to come."""
    for order in orders:
        if datetime.fromisoformat(order["created_at"]) <= now:
            kept = [move for move in order["moves"] if datetime.fromisoformat(move["at"]) <= now]
            yield {**order, "moves": kept}


def _main(
    month_text: Annotated[str, typer.Argument(metavar="MONTH", help="e.g. 2026-10")],
    preset: Annotated[str, typer.Option(help="Which community.")] = "gongyuan",
    scale: Annotated[float, typer.Option(min=0.001, max=1.0, help="As it was seeded.")] = 0.2,
    share: Annotated[float, typer.Option(min=0.01, help="How busy; 1: as a pilot was.")] = 1.0,
    seed: Annotated[int, typer.Option()] = 1,
) -> None:
    """Writes a month of order histories to standard output, for `linhub orders import`."""
    community = generate(BY_NAME[preset], scale, DEFAULT_SEED)
    for order in until(month(community, Days.month(month_text), seed, share=share), datetime.now(UTC)):
        sys.stdout.write(json.dumps(order, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    typer.run(_main)
