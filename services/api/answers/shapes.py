"""Rows of the database as the shapes of the API, as one class of readers may see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.adapters.orders import order_row
from services.api.answers.health import METRIC_NAMES, POSITION, about_health
from services.api.answers.models import AlertOut, LabelOut, OrderOut
from services.api.answers.moves import moves_of
from services.domain.access import ReaderClass
from services.domain.orders import Actor
from services.domain.orders.clocks import running
from services.domain.people.privacy import Shown
from services.domain.vocabulary import Label, Role

Row = Mapping[str, Any]

MASKED_RULE = "health"
CARE = LabelOut(zh="健康关怀", en="Wellbeing check")
"""What an alert or an order about somebody's health is called for those who are shown none of it."""
_MASKED_WHY = LabelOut(
    zh="详情仅网格员与社区值班可见", en="Details are shown to grid members and the community desk only"
)


def label(words: Label) -> LabelOut:
    return LabelOut(zh=words.zh, en=words.en)


def shown(reader: ReaderClass, row: Row) -> Shown:
    """Of a device's (or its alert's) health data. `row` has `grid_id` and `consents`; without them nothing is said."""
    return Shown(row["consents"]) if reader.sees_health(row["grid_id"]) else Shown.NONE


def values(kind: str, vals: Sequence[float | None] | None, shown: Shown) -> dict[str, float]:
    """By metric name, without what was never sent or left the catalogue, and of health data what is `shown`."""
    if not vals:
        return {}
    width = len(vals)
    return {
        name: value
        for index, name, needs in METRIC_NAMES.get(kind, ())
        if index < width and (value := vals[index]) is not None and needs & shown == needs
    }


def device(row: Row, reader: ReaderClass) -> dict[str, Any]:
    """The fields of a DeviceOut, as a plain dictionary: thousands of them make a snapshot, and a model costs thrice."""
    return {
        "id": row["id"],
        "kind": row["kind"],
        "name": row["name"],
        "place": row["place"],
        "x": row["x"],
        "y": row["y"],
        "floor": row["floor"],
        "building_id": row["building_id"],
        "gateway_id": row["gateway_id"],
        "tags": row["tags"],
        "online": row["online"],
        "last_seen_at": row["last_seen_at"],
        "ts": row["vals_ts"],
        "values": values(row["kind"], row["vals"], shown(reader, row)),
        "last_event": row["last_event"],
        "last_event_at": row["last_event_ts"],
    }


def without_position(said: Any) -> Any:
    """What set an alert off, without where somebody was."""
    if isinstance(said, dict):
        return {name: without_position(value) for name, value in said.items() if name not in POSITION}
    return [without_position(one) for one in said] if isinstance(said, list) else said


def alert(row: Row, reader: ReaderClass) -> AlertOut:
    private = any(about_health(rule_id) for rule_id in (row["rule_id"], *row["active_rules"]))
    sees = shown(reader, row)
    masked = private and Shown.VITALS not in sees
    return AlertOut(
        id=row["id"],
        community_id=row["community_id"],
        rule_id=MASKED_RULE if masked else row["rule_id"],
        kind=row["kind"],
        severity=row["severity"],
        team=row["team"],
        life_safety=row["life_safety"],
        state=row["state"],
        title=CARE if masked else LabelOut(zh=row["title_zh"], en=row["title_en"]),
        why=_MASKED_WHY if masked else LabelOut(zh=row["why_zh"], en=row["why_en"]),
        place=row["place"],
        device_id=row["device_id"],
        building_id=row["building_id"],
        onset_at=row["onset_at"],
        fired_at=row["fired_at"],
        last_at=row["last_at"],
        cleared_at=row["cleared_at"],
        occurrences=row["occurrences"],
        trigger={} if masked else row["trigger"] if Shown.LOCATION in sees else without_position(row["trigger"]),
        correlation=row["correlation"],
        order_id=row["order_id"],
        held=row["held"],
        held_since=row["held_since"],
        released_at=row["released_at"],
        suppressed=row["suppressed"],
        shadow=row["shadow"],
        group_key=row["group_key"],
        acknowledged_at=row["acknowledged_at"],
        acknowledged_by=row["acknowledged_by"],
    )


def name_shown(whole: str | None, reader: ReaderClass) -> str | None:
    """Of somebody who works: everybody who comes by sees a screen, so it shows the family name alone."""
    return f"{whole[0]}**" if whole and reader.role is Role.DISPLAY else whole


def order_masked(row: Row, reader: ReaderClass) -> bool:
    private = row["rule_id"] is not None and about_health(row["rule_id"])
    return private and not (reader.sees_health(row["place_grid_id"]) and Shown.VITALS in Shown(row["consents"]))


def order(row: Row, reader: ReaderClass, actor: Actor, now: datetime | None = None) -> OrderOut:
    """`now`: moves that only time has opened or closed are judged by it; None: by what stands in the history."""
    return OrderOut(**order_fields(row, reader, actor, now))


def order_fields(row: Row, reader: ReaderClass, actor: Actor, now: datetime | None) -> dict[str, Any]:
    """The fields of an OrderOut."""
    order = order_row(row)
    masked = order_masked(row, reader)
    due_for, due = min(running(order), key=lambda clock: clock[1], default=(None, None))
    moves = moves_of(order, actor, now)
    return {
        **{name: row[name] for name in _SAME},
        "title": CARE if masked else LabelOut(zh=row["title_zh"], en=row["title_en"]),
        "assignee": name_shown(row["assignee"], reader),
        "due": due,
        "due_for": due_for,
        "moves": list(moves),
        "needs": {move: list(needs) for move, needs in moves.items()},
        # A class may say of somebody's health what the title keeps back.
        "class_id": None if masked else order.terms.class_id,
        "category": None if masked else order.category,
        "mode": order.mode,
    }


_SAME = (
    "id",
    "number",
    "community_id",
    "source",
    "alert_id",
    "device_id",
    "building_id",
    "kind",
    "severity",
    "place",
    "x",
    "y",
    "team",
    "state",
    "version",
    "created_at",
    "dispatched_at",
    "accepted_at",
    "arrived_at",
    "resolved_at",
    "verified_at",
    "closed_at",
    "correlation",
    "rung",
    "forced",
    "returns",
    "reworks",
    "urges",
    "assignee_id",
    "parent_id",
    "merged_into",
    "photos_before",
    "photos_after",
    "signatures",
    "on_site",
    "pause_reason",
    "pause_until",
    "rating",
    "call_back",
)
