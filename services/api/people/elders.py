"""The elders of a community by risk, put together from the registry, the latest states and the open alerts.

Four statements whatever the community's size, none of which reads history.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from services.api.answers import shapes
from services.api.answers.health import about_health
from services.api.answers.models import LabelOut
from services.api.people.elder_models import ElderCountsOut, ElderOut, EldersOut, FactorOut, SignOf, SignOut
from services.api.store import privacy as store
from services.api.store.database import Connection
from services.domain.access import ReaderClass
from services.domain.people.privacy import Shown, masked_name
from services.domain.people.risk import Elder, Factor, OpenAlert, Risk, Usual, by_risk, risk
from services.domain.registry import ELDER_LIVING_ALONE
from services.domain.vocabulary import Label, Role, Severity

Row = Mapping[str, Any]
VITALS = ("heart_rate", "systolic", "diastolic", "spo2")
_SIGN_OF: dict[str, SignOf] = {"door_magnet": "door", "water_meter": "water", "sos_button": "button"}
_SIGN_WORDS: dict[SignOf, Label] = {
    "door": Label("门磁", "Door"),
    "water": Label("用水", "Water"),
    "band": Label("手环", "Wristband"),
    "button": Label("呼叫按钮", "Call button"),
}


@dataclass(frozen=True, slots=True)
class Known:
    """One elder with what belongs to them; `seen`: what of their health data the asker is shown."""

    person: Row
    devices: tuple[Row, ...]
    elder: Elder
    risk: Risk
    signs: tuple[SignOut, ...]
    band: Literal["on", "off", "offline", "none"]
    alerts: int
    seen: Shown


async def known_elders(
    connection: Connection, community_id: str, reader: ReaderClass, now: datetime, *, only: Sequence[Row] | None = None
) -> list[Known]:
    """By risk. `only`: these people (rows as of `store.elders`) in place of all."""
    grid = reader.grid_id if reader.role is Role.GRID else None
    people = list(only) if only is not None else await store.elders(connection, community_id, grid)
    ids = [one["id"] for one in people]
    homes = sorted({one["household_id"] for one in people if one["household_id"]})
    worn: dict[str, list[Row]] = defaultdict(list)
    at_home: dict[str, list[Row]] = defaultdict(list)
    numbers = []
    for row in await store.elder_devices(connection, community_id, ids, homes):
        numbers.append(row["device_no"])
        if row["person_id"] is not None:
            worn[row["person_id"]].append(row)
        elif row["household_id"] is not None:
            at_home[row["household_id"]].append(row)
    alerts: dict[int, list[Row]] = defaultdict(list)
    for row in await store.elder_alerts(connection, numbers):
        alerts[row["device_no"]].append(row)
    usual: dict[int, list[Usual]] = defaultdict(list)
    if reader.health:
        for row in await store.baselines(connection, numbers):
            usual[row["device_no"]].append(Usual(row["metric"], row["mean"], row["spread"]))
    found = {
        one["id"]: _known(one, (*worn[one["id"]], *at_home[one["household_id"] or ""]), alerts, usual, reader, now)
        for one in people
    }
    order = by_risk([(id, one.risk) for id, one in found.items()])
    return [found[id] for id, _ in order]


def _known(
    person: Row,
    devices: tuple[Row, ...],
    alerts: Mapping[int, list[Row]],
    usual: Mapping[int, list[Usual]],
    reader: ReaderClass,
    now: datetime,
) -> Known:
    sees = reader.sees_health(person["grid_id"])
    band = next((row for row in devices if row["kind"] == "wristband"), None)
    consents = Shown(band["consents"]) if band is not None else Shown.ALL
    seen = consents if sees else Shown.NONE
    values = shapes.values("wristband", band["vals"], seen) if band is not None else {}
    worn = None if band is None else band["last_event"] != "removed" or _since(band, now)
    signs = tuple(_sign(row, worn) for row in devices if row["kind"] == "wristband" or row["kind"] in _SIGN_OF)
    open_alerts = [row for one in devices for row in alerts.get(one["device_no"], ())]
    elder = Elder(
        age=age_of(person["birth_year"], now),
        tags=frozenset(person["tags"]),
        away_until=person["away_until"],
        alerts=tuple(_alert(row) for row in open_alerts),
        signs={f"{one.of}:{at}": one.at for at, one in enumerate(signs)},
        band_worn=worn,
        band_online=None if band is None else bool(band["online"]),
        battery=values.get("battery"),
        vitals=values,
        usual=tuple(usual.get(band["device_no"], ())) if band is not None and Shown.VITALS in seen else (),
    )
    judged = risk(elder, now, health=sees and Shown.VITALS in consents)
    state: Literal["on", "off", "offline", "none"]
    state = "none" if band is None else "off" if worn is False else "on" if band["online"] else "offline"
    return Known(person, devices, elder, judged, signs, state, len(open_alerts), seen)


def _since(band: Row, now: datetime) -> bool:
    """Whether a band that was taken off was put on again: it measures a heart, which a table does not have."""
    at, removed = band["vals_ts"], band["last_event_ts"]
    return at is not None and removed is not None and at > removed and bool(band["vals"]) and bool(band["vals"][0])


def _sign(row: Row, worn: bool | None) -> SignOut:
    of: SignOf = "band" if row["kind"] == "wristband" else _SIGN_OF[row["kind"]]
    at: datetime | None = row["last_event_ts"]
    if of == "band":
        at = row["vals_ts"] if worn else None
    elif of == "water":
        flow = shapes.values(row["kind"], row["vals"], Shown.NONE).get("flow", 0.0)
        at = row["vals_ts"] if flow > 0 else None
    return SignOut(of=of, at=at, words=shapes.label(_SIGN_WORDS[of]))


def _alert(row: Row) -> OpenAlert:
    return OpenAlert(
        row["rule_id"],
        Severity(row["severity"]),
        row["life_safety"],
        Label(row["title_zh"], row["title_en"]),
        any(about_health(one) for one in (row["rule_id"], *row["active_rules"])),
        row["fired_at"],
    )


def age_of(birth_year: int | None, now: datetime) -> int | None:
    """By years alone: the day is not kept."""
    return None if birth_year is None else now.year - birth_year


def factor_out(factor: Factor) -> FactorOut:
    return FactorOut(code=factor.code, weight=factor.weight, words=LabelOut(zh=factor.words.zh, en=factor.words.en))


def elder_out(known: Known, reader: ReaderClass) -> ElderOut:
    """With the name for the grid member who looks after them; the desk opens one of them to see it, for a purpose."""
    person = known.person
    times = [one.at for one in known.signs if one.at is not None]
    return ElderOut(
        id=person["id"],
        name=person["name"] if reader.role is Role.GRID else masked_name(person["name"]),
        age=known.elder.age,
        building_id=person["building_id"],
        building=person["building"],
        grid_id=person["grid_id"],
        lives_alone=ELDER_LIVING_ALONE in known.elder.tags,
        away_until=person["away_until"],
        score=known.risk.score,
        level=known.risk.level,
        factors=[factor_out(one) for one in known.risk.factors],
        last_sign_at=max(times, default=None),
        band=known.band,
        open_alerts=known.alerts,
    )


def elders_out(found: list[Known], reader: ReaderClass, now: datetime, limit: int) -> EldersOut:
    """A platform of the city is told how many there are, and of nobody."""
    levels = [one.risk.level for one in found]
    counts = ElderCountsOut(
        all=len(found),
        high=levels.count("high"),
        medium=levels.count("medium"),
        low=levels.count("low"),
        away=sum(one.person["away_until"] is not None and one.person["away_until"] > now for one in found),
        masked=not reader.health,
    )
    shown = [] if reader.role is Role.PLATFORM else found[:limit]
    return EldersOut(at=now, counts=counts, items=[elder_out(one, reader) for one in shown])
