"""Whether somebody who says that they have arrived is there (到场核验): by position, or by the code at the place."""

from __future__ import annotations

from dataclasses import dataclass
from math import hypot, isfinite
from typing import Any

from services.domain.evidence.plan import Datum, Ground, on_plan
from services.domain.vocabulary import Label


@dataclass(frozen=True, slots=True)
class Position:
    """Where a phone believes to be: in degrees, or in metres on the plan. `accuracy_m`: 68 % lie within."""

    accuracy_m: float
    latitude: float | None = None
    longitude: float | None = None
    datum: Datum = Datum.WGS84
    x: float | None = None
    y: float | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """A building on the plan, metres."""

    x: float
    y: float
    width: float
    depth: float

    def outside_m(self, x: float, y: float) -> float:
        return hypot(
            max(self.x - x, 0.0, x - self.x - self.width),
            max(self.y - y, 0.0, y - self.y - self.depth),
        )


@dataclass(frozen=True, slots=True)
class Site:
    """Where an order's work is. With neither point nor building, it is somewhere in the community."""

    ground: Ground
    point: tuple[float, float] | None = None
    building: Box | None = None
    building_id: str | None = None

    def distance_m(self, x: float, y: float) -> float:
        """To the point or the building's walls, whichever is nearer; else to the edge of the plan."""
        ways = [hypot(x - self.point[0], y - self.point[1])] if self.point else []
        if self.building is not None:
            ways.append(self.building.outside_m(x, y))
        return min(ways) if ways else self.ground.outside_m(x, y)


@dataclass(frozen=True, slots=True)
class Reach:
    """How near is near enough. A position less exact than `accuracy_m` proves nothing."""

    radius_m: float = 60.0
    accuracy_m: float = 100.0
    code_needs_position: bool = False


@dataclass(frozen=True, slots=True)
class PlaceCode:
    """The place behind a scanned code."""

    id: str
    community_id: str
    building_id: str | None
    place: str
    x: float
    y: float
    revoked: bool


@dataclass(frozen=True, slots=True)
class Here:
    """They are there. `detail` goes into the order's history."""

    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Unproven:
    """They are not, or it cannot be told; why, in words for the person who asked."""

    reason: Label


def by_position(site: Site, position: Position, reach: Reach) -> Here | Unproven:
    if not isfinite(position.accuracy_m) or position.accuracy_m < 0:
        return Unproven(Label("定位精度无效", "The accuracy of the position makes no sense"))
    if position.accuracy_m > reach.accuracy_m:
        return Unproven(
            Label(
                f"定位误差约 {position.accuracy_m:.0f} 米，超过 {reach.accuracy_m:.0f} 米，请到开阔处重试或扫描场所码",
                f"The position is good to {position.accuracy_m:.0f} m only, {reach.accuracy_m:.0f} m is needed: "
                "try in the open, or scan the code at the place",
            )
        )
    at = _point(site, position)
    if at is None:
        return Unproven(Label("没有有效的定位", "That is no position"))
    distance = site.distance_m(*at)
    if distance > reach.radius_m + position.accuracy_m:
        return Unproven(
            Label(
                f"您距现场约 {_far_zh(distance)}，须在 {reach.radius_m:.0f} 米以内"
                f"（定位误差 {position.accuracy_m:.0f} 米已计入）",
                f"You are about {_far_en(distance)} away; within {reach.radius_m:.0f} m counts as there "
                f"(the {position.accuracy_m:.0f} m of the position's own error are allowed for)",
            )
        )
    return Here({"by": "position", "distance_m": round(distance, 1), "accuracy_m": round(position.accuracy_m, 1)})


def by_code(site: Site, community_id: str, code: PlaceCode | None, reach: Reach) -> Here | Unproven:
    """`code` None: none that this installation made."""
    if code is None or code.community_id != community_id:
        return Unproven(Label("这不是本社区的场所码", "That is not a code of this community"))
    if code.revoked:
        return Unproven(
            Label(f"“{code.place}”的场所码已作废，请告知社区值班更换", f"The code of {code.place} is no longer valid")
        )
    distance = site.distance_m(code.x, code.y)
    same = site.building_id is not None and code.building_id == site.building_id
    # Two buildings may stand close together: what names its building is good for no other.
    elsewhere = site.building_id is not None and code.building_id is not None and not same
    if elsewhere or (not same and distance > reach.radius_m):
        return Unproven(
            Label(
                f"此码属于“{code.place}”，距工单地点约 {_far_zh(distance)}",
                f"That is the code of {code.place}, about {_far_en(distance)} from where the order is",
            )
        )
    return Here({"by": "code", "code_id": code.id, "place": code.place, "distance_m": round(distance, 1)})


def judge(
    site: Site,
    community_id: str,
    *,
    position: Position | None,
    code: PlaceCode | None,
    scanned: bool,
    reach: Reach,
) -> Here | Unproven | None:
    """What was shown, at its best; None where nothing was. Where both were, both must hold."""
    if not scanned:
        return None if position is None else by_position(site, position, reach)
    shown = by_code(site, community_id, code, reach)
    if isinstance(shown, Unproven):
        return shown
    if position is None:
        if reach.code_needs_position:
            return Unproven(Label("扫码时还须允许定位", "With a code, the position is needed as well"))
        return shown
    also = by_position(site, position, reach)
    if isinstance(also, Unproven):
        return also
    return Here(shown.detail | {"position_m": also.detail["distance_m"], "accuracy_m": also.detail["accuracy_m"]})


def _point(site: Site, position: Position) -> tuple[float, float] | None:
    if position.latitude is not None and position.longitude is not None:
        return on_plan(site.ground, position.latitude, position.longitude, position.datum)
    if position.x is None or position.y is None or not (isfinite(position.x) and isfinite(position.y)):
        return None
    return position.x, position.y


def _far_zh(metres: float) -> str:
    return f"{metres:.0f} 米" if metres < 1000 else f"{metres / 1000:.1f} 公里"


def _far_en(metres: float) -> str:
    return f"{metres:.0f} m" if metres < 1000 else f"{metres / 1000:.1f} km"
