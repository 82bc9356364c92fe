"""One elder in detail: the last day, for those who look after them and for those they share it with."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from services.api.answers import shapes
from services.api.answers.health import about_health
from services.api.answers.models import LabelOut
from services.api.answers.shapes import Row
from services.api.data import spacing
from services.api.people import store as people_store
from services.api.people.elder_models import (
    ConsentNowOut,
    ElderDetailOut,
    MomentOut,
    PersonContactOut,
    VisitOut,
    VitalOut,
)
from services.api.people.elders import VITALS, Known, elder_out, known_elders
from services.api.people.masks import OUTSIDERS, is_own
from services.api.privacy.purposes import NO_CONSENT, required
from services.api.store import privacy as store
from services.api.store.database import Connection
from services.api.web.problems import ApiError
from services.domain.access import Principal, ReaderClass, reader_class
from services.domain.devices import BY_NAME
from services.domain.people.privacy import CONSENTS, ConsentTo, Purpose, Shown
from services.domain.people.risk import LEAST_SPREAD
from services.domain.vocabulary import Role

DAY = timedelta(hours=24)
HALF_HOUR_S = 1800
_BAND = BY_NAME["wristband"]
_OPENED = {
    ("door_magnet", "opened"): LabelOut(zh="开门", en="Door opened"),
    ("door_magnet", "closed"): LabelOut(zh="关门", en="Door closed"),
    ("sos_button", "pressed"): LabelOut(zh="按下呼叫按钮", en="Call button pressed"),
    ("wristband", "sos"): LabelOut(zh="手环呼救", en="SOS from the wristband"),
    ("wristband", "fall"): LabelOut(zh="跌倒", en="Fall"),
    ("wristband", "removed"): LabelOut(zh="手环摘下", en="Wristband taken off"),
}
_OF: dict[str, Any] = {"door_magnet": "door", "sos_button": "button", "wristband": "band", "water_meter": "water"}


def reader_of(who: Principal, person: Row) -> ReaderClass:
    """A resident looks as a grid member of this one home would: they have no class of their own for health."""
    if who.role in OUTSIDERS:
        return ReaderClass(Role.GRID, None, True, person["grid_id"])
    return reader_class(who)


async def purpose_for(connection: Connection, who: Principal, person: Row, purpose: Purpose | None) -> Purpose:
    """Raises ApiError 403 and 422: what each may be reading for, and whom the person shares with."""
    purpose = required(purpose, who)
    if who.role in OUTSIDERS and not is_own(who, person):
        if purpose is not Purpose.FAMILY or not await people_store.shared_with_family(connection, person["id"]):
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                "本人没有同意与同住家属共享，请本人或监护人在“同意”中开启 · the person does not share this with the "
                "household; they or their guardian can allow it under consents",
            )
    elif who.role in OUTSIDERS and purpose is not Purpose.SELF:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "查看本人或所监护的人，用途为 self · your own: the purpose is self"
        )
    return purpose


async def wellbeing(
    connection: Connection, who: Principal, person: Row, purpose: Purpose, now: datetime
) -> ElderDetailOut:
    reader = reader_of(who, person)
    known = (await known_elders(connection, person["community_id"], reader, now, only=[person]))[0]
    seen = known.seen
    if purpose is Purpose.EMERGENCY and await store.in_emergency(connection, person["id"], who.id):
        seen = Shown.ALL
    vitals = await _vitals(connection, person["community_id"], known, now) if Shown.VITALS in seen else []
    devices = [row["device_no"] for row in known.devices]
    consents = await people_store.consents(connection, person["id"])
    zh, _, en = NO_CONSENT.partition(" · ")
    has_band = any(row["kind"] == "wristband" for row in known.devices)
    return ElderDetailOut(
        at=now,
        elder=elder_out(known, reader).model_copy(update={"name": person["name"]}),
        room=person["room"],
        phone=person["phone"],
        signs=list(known.signs),
        timeline=await _timeline(connection, person["community_id"], devices, now, seen),
        vitals=vitals,
        vitals_withheld=LabelOut(zh=zh, en=en) if has_band and Shown.VITALS not in seen else None,
        consents=[_consent(what, consents) for what in ConsentTo],
        contacts=[PersonContactOut(**dict(row)) for row in await store.contacts(connection, person["id"])],
        visits=[_visit(row, seen) for row in await store.visits(connection, devices)],
    )


async def _vitals(connection: Connection, community_id: str, known: Known, now: datetime) -> list[VitalOut]:
    band = next((row for row in known.devices if row["kind"] == "wristband"), None)
    if band is None:
        return []
    usual = {row["metric"]: row for row in await store.baselines(connection, [band["device_no"]])}
    latest = shapes.values("wristband", band["vals"], Shown.VITALS)
    found = []
    for position, metric in enumerate(_BAND.metrics):
        name = metric.name
        if name not in VITALS:
            continue
        own = usual.get(name)
        spread = 2 * max(own["spread"], LEAST_SPREAD[name]) if own else 0.0
        means = await store.half_hours(connection, community_id, band["device_no"], position, now - DAY, now)
        found.append(
            VitalOut(
                metric=name,
                unit=metric.unit,
                label=shapes.label(metric.label),
                latest=latest.get(name),
                latest_at=band["vals_ts"] if name in latest else None,
                usual_low=round(own["mean"] - spread, 1) if own else None,
                usual_high=round(own["mean"] + spread, 1) if own else None,
                points=spacing.filled(means, now - DAY, now, HALF_HOUR_S),
            )
        )
    return found


async def _timeline(
    connection: Connection, community_id: str, devices: list[int], now: datetime, seen: Shown
) -> list[MomentOut]:
    found = await store.timeline(connection, community_id, devices, now - DAY)
    moments = [
        MomentOut(at=row["at"], of=_OF[row["kind"]], words=words)
        for row in found["events"]
        if (words := _OPENED.get((row["kind"], row["event"]))) is not None
    ]
    for row in found["alerts"]:
        private = any(about_health(one) for one in (row["rule_id"], *row["active_rules"]))
        title = LabelOut(zh=row["title_zh"], en=row["title_en"])
        moments.append(
            MomentOut(at=row["at"], of="alert", words=shapes.CARE if private and Shown.VITALS not in seen else title)
        )
    for row in found["answers"]:
        zh, en = (
            ("回复：平安", "Answered: all is well") if row["ok"] else ("回复：需要帮助", "Answered: help is needed")
        )
        moments.append(MomentOut(at=row["at"], of="answer", words=LabelOut(zh=zh, en=en)))
    return sorted(moments, key=lambda one: one.at, reverse=True)


def _visit(row: Row, seen: Shown) -> VisitOut:
    private = row["rule_id"] is not None and about_health(row["rule_id"])
    title = shapes.CARE if private and Shown.VITALS not in seen else LabelOut(zh=row["title_zh"], en=row["title_en"])
    names = ("id", "number", "severity", "state", "created_at", "arrived_at", "closed_at")
    return VisitOut(**{name: row[name] for name in names}, title=title)


def _consent(what: ConsentTo, rows: list[Row]) -> ConsentNowOut:
    valid = [row for row in rows if row["what"] == what and row["valid"]]
    ends = [row["ends_at"] for row in valid]
    until = None if not ends or None in ends else max(ends)
    return ConsentNowOut(what=what, label=shapes.label(CONSENTS[what]), valid=bool(valid), until=until)
