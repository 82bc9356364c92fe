"""Drawings from elsewhere as shapes of ours: GeoJSON projected onto the plan; what an upload may be at most."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import isfinite
from typing import Any

from services.domain.drawing import MOST_POINTS, MOST_SHAPES, ORDER, ShapeKind
from services.domain.evidence.plan import Datum, Ground, on_plan
from services.domain.vocabulary import Label

MOST_BYTES = 4 * 1024 * 1024
Points = list[list[float]]


class NoDrawing(Exception):
    """The file cannot be taken; `words` say why and what to do."""

    def __init__(self, zh: str, en: str) -> None:
        super().__init__(en)
        self.words = Label(zh, en)


@dataclass(slots=True)
class Drawn:
    """Shapes in metres from the upper left; `left_out`: what of the file is not among them, and how often."""

    width: float
    height: float
    shapes: list[dict[str, Any]] = field(default_factory=list)
    left_out: dict[str, tuple[Label, int]] = field(default_factory=dict)
    _points: int = 0

    def add(self, kind: str, points: Points, name: str | None = None) -> None:
        """Raises NoDrawing for too much."""
        self._points += len(points)
        if len(self.shapes) >= MOST_SHAPES or self._points > MOST_POINTS:
            raise NoDrawing(
                f"图形超过 {MOST_SHAPES} 个或点数超过 {MOST_POINTS}，请先简化",
                f"more than {MOST_SHAPES} shapes or {MOST_POINTS} points; simplify the drawing",
            )
        if len(points) > 3 and points[0] == points[-1]:
            points = points[:-1]
        if len(points) < 2:
            return
        shape: dict[str, Any] = {"kind": kind, "points": points}
        if name:
            shape["name"] = name[:60]
        self.shapes.append(shape)

    def leave_out(self, key: str, zh: str, en: str) -> None:
        self.left_out[key] = (Label(zh, en), self.left_out.get(key, (None, 0))[1] + 1)

    def told(self) -> list[Label]:
        return [Label(f"{words.zh} ×{n}", f"{words.en} ×{n}") for words, n in self.left_out.values()]


_WORDS: dict[str, ShapeKind] = {
    "道路": ShapeKind.ROAD,
    "highway": ShapeKind.ROAD,
    "footway": ShapeKind.PATH,
    "人行道": ShapeKind.PATH,
    "步道": ShapeKind.PATH,
    "绿化": ShapeKind.GREEN,
    "绿地": ShapeKind.GREEN,
    "grass": ShapeKind.GREEN,
    "park": ShapeKind.GREEN,
    "garden": ShapeKind.GREEN,
    "树": ShapeKind.TREE,
    "水": ShapeKind.WATER,
    "水体": ShapeKind.WATER,
    "lake": ShapeKind.WATER,
    "pond": ShapeKind.WATER,
    "停车": ShapeKind.PARKING,
    "车位": ShapeKind.PARKING,
    "运动场": ShapeKind.COURT,
    "球场": ShapeKind.COURT,
    "pitch": ShapeKind.COURT,
    "儿童乐园": ShapeKind.PLAY,
    "playground": ShapeKind.PLAY,
    "门": ShapeKind.GATE,
    "出入口": ShapeKind.GATE,
    "中心": ShapeKind.CENTRE,
    "community_centre": ShapeKind.CENTRE,
    "边界": ShapeKind.BOUNDARY,
    "围墙": ShapeKind.BOUNDARY,
    "wall": ShapeKind.BOUNDARY,
    "网格": ShapeKind.GRID,
    "垃圾": ShapeKind.BIN,
}


def kind_of(word: str) -> str | None:
    """The kind that a layer, class or property means; None: nothing we know."""
    text = word.strip().casefold()
    if text in ORDER:
        return text
    for name in ORDER:
        if text.startswith(f"{name}-") or text.startswith(f"{name}_") or text == f"{name}s":
            return name
    if text in _WORDS:
        return _WORDS[text].value
    return next((kind.value for name, kind in _WORDS.items() if len(name) > 1 and name in text), None)


def from_geojson(raw: bytes, ground: Ground, datum: Datum) -> Drawn:
    """Polygons and lines with a property `kind`, around the community's position. Raises NoDrawing.

    GeoJSON is WGS 84 by its standard (RFC 7946); what Chinese map kits write is GCJ-02 and has to be said.
    The plan's origin is the position; what lies north or west of it has negative metres, so all is moved to fit.
    """
    if len(raw) > MOST_BYTES:
        raise NoDrawing("文件超过 4 MB", "the file is larger than 4 MB")
    try:
        document = json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise NoDrawing("不是有效的 GeoJSON", "this is no GeoJSON") from None
    drawn = Drawn(ground.width, ground.height)
    outside = 0
    for geometry, properties in _features(document):
        kind = _kind(properties)
        if kind is None:
            drawn.leave_out("kind", "没有 kind 属性的要素", "feature without a property `kind`")
            continue
        name = properties.get("name")
        for ring in _rings(geometry, drawn):
            points: Points = []
            for position in ring:
                at = _position(position, ground, datum)
                points.append([round(at[0], 1), round(at[1], 1)])
            if any(ground.outside_m(x, y) > max(ground.width, ground.height) * 4 + 1_000 for x, y in points):
                outside += 1
                drawn.leave_out("far", "远离社区的要素", "feature far away from the community")
                continue
            drawn.add(kind, points, name if isinstance(name, str) else None)
    if not drawn.shapes:
        zh = "全部要素都远离社区，请检查坐标系" if outside else "没有可用的面或线，要素须有 kind 属性"
        en = (
            "every feature is far away from the community; look at its datum"
            if outside
            else "no polygon or line that can be used; features need a property `kind`"
        )
        raise NoDrawing(zh, en)
    return drawn


def _features(document: Any) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    if not isinstance(document, dict):
        raise NoDrawing("不是有效的 GeoJSON", "this is no GeoJSON")
    if document.get("type") == "FeatureCollection" and isinstance(document.get("features"), list):
        features = document["features"]
    elif document.get("type") == "Feature":
        features = [document]
    else:
        raise NoDrawing("需要 FeatureCollection", "a FeatureCollection is expected")
    for feature in features:
        if isinstance(feature, dict) and isinstance(feature.get("geometry"), dict):
            properties = feature.get("properties")
            yield feature["geometry"], properties if isinstance(properties, dict) else {}


def _kind(properties: Mapping[str, Any]) -> str | None:
    for name in ("kind", "class", "type", "highway", "leisure", "landuse", "natural", "amenity", "barrier"):
        value = properties.get(name)
        if isinstance(value, str) and value:
            known = kind_of(value)
            if known is not None:
                return known
            if name == "highway":
                return ShapeKind.ROAD.value
    return None


def _rings(geometry: Mapping[str, Any], drawn: Drawn) -> Iterator[list[Any]]:
    """Outlines alone: a hole is drawn by what lies in it."""
    coordinates, sort = geometry.get("coordinates"), geometry.get("type")
    if not isinstance(coordinates, list):
        raise NoDrawing("要素没有坐标", "a feature has no coordinates")
    try:
        if sort == "Polygon":
            yield coordinates[0]
        elif sort == "MultiPolygon":
            yield from (polygon[0] for polygon in coordinates)
        elif sort == "LineString":
            # A line of many points is many lines of two: a shape of more is an area.
            yield from ([a, b] for a, b in pairwise(coordinates))
        elif sort == "MultiLineString":
            for line in coordinates:
                yield from ([a, b] for a, b in pairwise(line))
        else:
            drawn.leave_out(f"geometry {sort}"[:40], "点或其他几何", "point or other geometry")
    except (IndexError, TypeError):
        raise NoDrawing("要素的坐标有误", "the coordinates of a feature are wrong") from None


def _position(position: Any, ground: Ground, datum: Datum) -> tuple[float, float]:
    try:
        longitude, latitude = float(position[0]), float(position[1])
    except (TypeError, ValueError, IndexError):
        raise NoDrawing("要素的坐标有误", "the coordinates of a feature are wrong") from None
    at = on_plan(ground, latitude, longitude, datum) if isfinite(latitude) and isfinite(longitude) else None
    if at is None:
        raise NoDrawing("坐标不是经纬度", "the coordinates are no longitude and latitude")
    return at
