"""The drawn plan of a community: which shapes there are, and what of a drawing may be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

from services.domain.vocabulary import Label

MOST_SHAPES = 5_000
MOST_POINTS = 60_000
MOST_METRES = 10_000.0
"""A community is never larger; beyond that a scale was mistaken."""


class ShapeKind(StrEnum):
    """What is drawn, from the ground up: a later kind lies on an earlier one."""

    BOUNDARY = "boundary"
    """The wall or fence of a 小区, as an outline; `name` is the 小区's."""
    GRID = "grid"
    """The ground of a 网格, tinted; `name` is the 网格's."""
    GREEN = "green"
    WATER = "water"
    ROAD = "road"
    PATH = "path"
    """A footpath."""
    PARKING = "parking"
    """A row of bays."""
    BAY = "bay"
    """The line between two bays; two points."""
    COURT = "court"
    """A sports court."""
    PLAY = "play"
    """A playground."""
    CENTRE = "centre"
    """The community centre (党群服务中心)."""
    BIN = "bin"
    """A bin station."""
    TREE = "tree"
    """A crown, as a polygon."""
    GATE = "gate"
    OTHER = "other"


ORDER: dict[str, int] = {kind.value: place for place, kind in enumerate(ShapeKind)}
"""In which order shapes are drawn."""


@dataclass(frozen=True, slots=True)
class DrawingFault:
    where: str
    words: Label


def check_drawing(drawing: Mapping[str, Any]) -> list[DrawingFault]:
    """What is wrong with {"width", "height", "shapes": [{"kind", "points", "name"?}]}, in metres; nothing: it may be kept.

    A shape of two points is a line, one of more a polygon.
    """
    faults: list[DrawingFault] = []
    for side in ("width", "height"):
        size = drawing.get(side)
        if not _number(size) or not 0 < float(size) <= MOST_METRES:  # type: ignore[arg-type]
            faults.append(
                DrawingFault(
                    side,
                    Label(
                        f"平面图尺寸须大于 0 且不超过 {MOST_METRES:g} 米，请检查比例",
                        f"a plan is between 0 and {MOST_METRES:g} m long; look at the scale",
                    ),
                )
            )
    shapes = drawing.get("shapes")
    if not isinstance(shapes, Sequence) or isinstance(shapes, str):
        return [*faults, DrawingFault("shapes", Label("缺少图形列表", "the list of shapes is missing"))]
    if len(shapes) > MOST_SHAPES:
        faults.append(DrawingFault("shapes", Label(f"图形超过 {MOST_SHAPES} 个", f"more than {MOST_SHAPES} shapes")))
        return faults
    points = 0
    for place, shape in enumerate(shapes):
        points += len(shape.get("points", ()))
        if wrong := _shape(shape):
            faults.append(DrawingFault(f"shapes[{place}]", wrong))
    if points > MOST_POINTS:
        faults.append(DrawingFault("shapes", Label(f"点数超过 {MOST_POINTS}", f"more than {MOST_POINTS} points")))
    return faults[:50]


def _shape(shape: Mapping[str, Any]) -> Label | None:
    if shape.get("kind") not in ORDER:
        return Label(
            f"没有图形类型 {shape.get('kind')!r}，可用：{'、'.join(ORDER)}",
            f"there is no kind {shape.get('kind')!r}; there are {', '.join(ORDER)}",
        )
    points = shape.get("points", ())
    if len(points) < 2:
        return Label("图形至少两个点", "a shape has two points at least")
    for point in points:
        if len(point) != 2 or not all(_number(one) and abs(one) <= MOST_METRES for one in point):
            return Label("点须为两个以米计的数", "a point is two numbers, in metres")
    return None


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def layered(shapes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """From the ground up; points to the decimetre."""
    return [
        {**shape, "points": [[round(x, 1), round(y, 1)] for x, y in shape["points"]]}
        for shape in sorted(shapes, key=lambda one: ORDER[one["kind"]])
    ]
