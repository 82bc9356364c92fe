"""How much an elder is at risk: points for named facts, added up; every point can be read and checked by hand.

The weights are ours, and set so that one call for help, or silence for a day with anything beside it, stands first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from services.domain.registry import DEMENTIA, ELDER_LIVING_ALONE
from services.domain.vocabulary import Label, Severity

Level = Literal["high", "medium", "low"]
HIGH, MEDIUM, MOST = 60, 30, 100
QUIET, SILENT = timedelta(hours=12), timedelta(hours=24)
LOW_BATTERY = 20.0
"""Percent."""
LEAST_SPREAD: Mapping[str, float] = {"heart_rate": 4.0, "systolic": 6.0, "diastolic": 4.0, "spo2": 1.0}
"""A body as steady as its device can tell is not ill for one step beside that: the smallest spread that counts."""
DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class OpenAlert:
    rule_id: str
    severity: Severity
    life_safety: bool
    title: Label
    health: bool
    """What it says is health data."""
    fired_at: datetime


@dataclass(frozen=True, slots=True)
class Usual:
    """What is usual for somebody: the mean of days, and how far days lie apart (one standard deviation)."""

    metric: str
    mean: float
    spread: float


@dataclass(frozen=True, slots=True)
class Elder:
    """What is known of one elder now. `signs`: by what (door, water, band), when last; None where nothing is known."""

    age: int | None
    tags: frozenset[str]
    away_until: datetime | None
    alerts: tuple[OpenAlert, ...]
    signs: Mapping[str, datetime | None]
    band_worn: bool | None
    """None: there is no wristband."""
    band_online: bool | None
    battery: float | None
    vitals: Mapping[str, float]
    usual: tuple[Usual, ...]


@dataclass(frozen=True, slots=True)
class Factor:
    """One reason, and how many points it adds. `health`: it says something of the body, and is for few eyes."""

    code: str
    weight: int
    words: Label
    health: bool = False


@dataclass(frozen=True, slots=True)
class Risk:
    score: int
    level: Level
    factors: tuple[Factor, ...]
    """The heaviest first."""


def risk(elder: Elder, now: datetime, *, health: bool) -> Risk:
    """`health` false: as for somebody who is shown no health data; such facts are then not counted either, since a
    sum that holds them would say what they are."""
    found = [*_alerts(elder), *_signs(elder, now), *_band(elder), *_vitals(elder), *_person(elder)]
    if elder.away_until is not None and elder.away_until > now:
        found.append(Factor("away", 0, Label("外出中，不计静默", "Away: silence does not count")))
    factors = sorted((one for one in found if health or not one.health), key=lambda one: (-one.weight, one.code))
    score = min(MOST, sum(one.weight for one in factors))
    return Risk(score, "high" if score >= HIGH else "medium" if score >= MEDIUM else "low", tuple(factors))


_ALERT_WEIGHT = {Severity.CRITICAL: 60, Severity.MAJOR: 40, Severity.MINOR: 25, Severity.INFO: 5}


def _alerts(elder: Elder) -> list[Factor]:
    """A call for help is everything; of other alerts each counts."""
    return [
        Factor(
            f"alert:{one.rule_id}",
            MOST if one.life_safety else _ALERT_WEIGHT[one.severity],
            Label(f"未结告警：{one.title.zh}", f"Open alert: {one.title.en}"),
            one.health,
        )
        for one in elder.alerts
    ]


def _signs(elder: Elder, now: datetime) -> list[Factor]:
    """How long nothing was heard of the person, by whatever was heard last; nothing while they are away."""
    times = [at for at in elder.signs.values() if at is not None]
    if not times or (elder.away_until is not None and elder.away_until > now):
        return []
    silent = now - max(times)
    if silent < QUIET:
        return []
    hours = int(silent / timedelta(hours=1))
    words = Label(f"{hours} 小时没有生活迹象", f"No sign of life for {hours} h")
    return [Factor("no_sign", 45 if silent >= SILENT else 25, words)]


def _band(elder: Elder) -> list[Factor]:
    found = []
    if elder.band_worn is False:
        found.append(Factor("band_off", 15, Label("手环已摘下", "The wristband was taken off")))
    if elder.band_online is False:
        found.append(Factor("band_offline", 15, Label("手环离线", "The wristband is offline")))
    if elder.battery is not None and elder.battery < LOW_BATTERY:
        level = round(elder.battery)
        found.append(Factor("band_battery", 8, Label(f"手环电量 {level}%", f"Wristband battery at {level} %")))
    return found


_NAMES = {
    "heart_rate": Label("心率", "heart rate"),
    "systolic": Label("收缩压", "systolic pressure"),
    "diastolic": Label("舒张压", "diastolic pressure"),
    "spo2": Label("血氧", "oxygen saturation"),
}


def _vitals(elder: Elder) -> list[Factor]:
    """What lies two or three of the person's own spreads beside what is usual for them."""
    found = []
    for usual in elder.usual:
        value, name = elder.vitals.get(usual.metric), _NAMES.get(usual.metric)
        if value is None or name is None:
            continue
        off = abs(value - usual.mean) / max(usual.spread, LEAST_SPREAD[usual.metric])
        if off >= 2:
            words = Label(
                f"{name.zh} {value:g}，平常 {usual.mean:.0f}±{usual.spread:.0f}",
                f"{name.en.capitalize()} {value:g}, usually {usual.mean:.0f}±{usual.spread:.0f}",
            )
            found.append(Factor(f"unusual:{usual.metric}", 20 if off >= 3 else 10, words, True))
    return found


def _person(elder: Elder) -> list[Factor]:
    found = []
    if ELDER_LIVING_ALONE in elder.tags:
        found.append(Factor("alone", 10, Label("独居", "Lives alone")))
    if elder.age is not None and elder.age >= 80:
        weight = 12 if elder.age >= 90 else 8
        found.append(Factor("age", weight, Label(f"{elder.age} 岁", f"{elder.age} years old")))
    if DEMENTIA in elder.tags:
        found.append(Factor("dementia", 10, Label("失智", "Dementia"), True))
    if DISABLED in elder.tags:
        found.append(Factor("disabled", 5, Label("残疾", "Disabled"), True))
    return found


def by_risk(risks: Sequence[tuple[str, Risk]]) -> list[tuple[str, Risk]]:
    """The highest first; of equals, by id, so that a list does not jump."""
    return sorted(risks, key=lambda one: (-one[1].score, one[0]))
