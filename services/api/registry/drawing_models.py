"""Drawings of the plan over the API: shapes, versions, what a file would become, and where things are put on it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from services.api.answers.models import LabelOut, Model
from services.api.registry.models import Id, Metres, Size, Version, VersionOf

ShapePoints = Annotated[
    list[Annotated[list[float], Field(min_length=2, max_length=2)]], Field(min_length=2, max_length=20_000)
]


class ShapeModel(Model):
    kind: Annotated[str, Field(max_length=20)]
    points: ShapePoints
    name: Annotated[str | None, Field(max_length=60)] = None


class DrawingIn(Model):
    """Metres, y downwards. A shape of two points is a line, one of more a polygon."""

    width: float
    height: float
    shapes: Annotated[list[ShapeModel], Field(max_length=5_000)]
    source: Literal["editor", "svg", "geojson"] = "editor"
    note: Annotated[str, Field(max_length=200)] = ""


class DrawingOut(Model):
    version: int
    width: float
    height: float
    shapes: list[dict[str, Any]]


class DrawingVersionOut(Model):
    version: int
    source: Literal["import", "editor", "svg", "geojson", "restore"]
    note: str
    created_by: str
    created_at: datetime
    shapes: int


class DrawingVersionPage(Model):
    items: list[DrawingVersionOut]
    next: str | None


class DrawingPreview(Model):
    """A drawing as it would be kept; `left_out` says what of the file is not drawn and why."""

    source: Literal["svg", "geojson"]
    width: float
    height: float
    shapes: list[ShapeModel]
    kinds: dict[str, int]
    left_out: list[LabelOut]


class MoveOf(Model):
    """Where a device is put. With `inside`, it is bound to the building, unit and floor named here (null: to none)."""

    id: Id
    version: Version
    x: Metres
    y: Metres
    inside: bool = False
    building_id: Id | None = None
    unit_id: Id | None = None
    floor: Annotated[int | None, Field(ge=-20, le=300)] = None


class BuildingMoveOf(Model):
    id: Id
    version: Version
    x: Metres
    y: Metres
    width: Size | None = None
    depth: Size | None = None


class PlacementIn(Model):
    devices: Annotated[list[MoveOf], Field(max_length=5_000)] = Field(default_factory=list)
    buildings: Annotated[list[BuildingMoveOf], Field(max_length=1_000)] = Field(default_factory=list)


class PlacementOut(Model):
    devices: list[VersionOf]
    buildings: list[VersionOf]
