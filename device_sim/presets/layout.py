"""Draws an estate: rows of blocks between roads, green and bays before them, a garden with a pond, a court, gates."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Any

CELL_WIDTH = 62.0
CELL_DEPTH = 48.0
ROAD = 8.0
MARGIN = 12.0
COLUMNS_A_BLOCK = 3
ROWS_A_BLOCK = 2
BAY_WIDTH = 2.6
_SPECIAL = ("garden", "court")


@dataclass(frozen=True, slots=True)
class Rect:
    """Metres, y downwards; x and y are the corner nearest the origin."""

    x: float
    y: float
    width: float
    depth: float

    @property
    def corners(self) -> list[list[float]]:
        x2, y2 = self.x + self.width, self.y + self.depth
        return [[round(x, 1), round(y, 1)] for x, y in ((self.x, self.y), (x2, self.y), (x2, y2), (self.x, y2))]

    @property
    def centre(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.depth / 2

    def overlaps(self, other: Rect) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.depth
            and other.y < self.y + self.depth
        )


@dataclass(frozen=True, slots=True)
class Layout:
    """The drawn estate. `bays` are the middles of parking bays, `kerbs` where lamp posts may stand."""

    width: float
    depth: float
    buildings: tuple[Rect, ...]
    roads: tuple[Rect, ...]
    parking: tuple[Rect, ...]
    green: tuple[Rect, ...]
    gates: tuple[Rect, ...]
    court: Rect
    garden: Rect
    pond: tuple[tuple[float, float], ...]
    bays: tuple[tuple[float, float], ...]
    kerbs: tuple[tuple[float, float], ...]

    def plan(self) -> dict[str, Any]:
        """As the registry keeps it; what is drawn later lies on top."""
        shapes = [{"kind": "green", "points": rect.corners} for rect in (*self.green, self.garden)]
        shapes += [{"kind": "road", "points": rect.corners} for rect in self.roads]
        shapes += [{"kind": "parking", "points": rect.corners} for rect in self.parking]
        shapes.append({"kind": "court", "points": self.court.corners})
        shapes.append({"kind": "water", "points": [[round(x, 1), round(y, 1)] for x, y in self.pond]})
        shapes += [{"kind": "gate", "points": rect.corners} for rect in self.gates]
        return {"width": round(self.width, 1), "height": round(self.depth, 1), "shapes": shapes}


def lay_out(buildings: int, rng: random.Random) -> Layout:
    """Places `buildings` blocks; the middle cells become the garden and the court."""
    cells = buildings + len(_SPECIAL)
    columns = max(3, round(math.sqrt(cells * CELL_DEPTH / CELL_WIDTH * 1.5)))
    rows = math.ceil(cells / columns)
    xs = [MARGIN + ROAD + i * CELL_WIDTH + (i // COLUMNS_A_BLOCK) * ROAD for i in range(columns)]
    ys = [MARGIN + ROAD + j * CELL_DEPTH + (j // ROWS_A_BLOCK) * ROAD for j in range(rows)]
    width, depth = xs[-1] + CELL_WIDTH + ROAD + MARGIN, ys[-1] + CELL_DEPTH + ROAD + MARGIN
    grid = [(xs[i], ys[j]) for j in range(rows) for i in range(columns)]
    middle = (rows // 2) * columns + columns // 2
    special = {"garden": grid[middle], "court": grid[middle - 1]}
    free = [cell for cell in grid if cell not in special.values()]
    blocks, spare = free[:buildings], free[buildings:]

    houses, green, parking = [], [], []
    for x, y in blocks:
        slab = rng.random() < 0.7
        w, d = (rng.uniform(44, 54), rng.uniform(12, 14)) if slab else (rng.uniform(24, 28), rng.uniform(16, 18))
        houses.append(Rect(round(x + (CELL_WIDTH - w) / 2, 1), y + 6, round(w, 1), round(d, 1)))
        green.append(Rect(x + 5, y + 27, CELL_WIDTH - 10, 9))
        parking.append(Rect(x + 5, y + 40, CELL_WIDTH - 10, 5.5))
    green += [Rect(x + 3, y + 3, CELL_WIDTH - 6, CELL_DEPTH - 6) for x, y in spare]
    gx, gy = special["garden"]
    garden = Rect(gx + 2, gy + 2, CELL_WIDTH - 4, CELL_DEPTH - 4)
    cx, cy = special["court"]
    roads, gates = _roads(width, depth, xs, ys)
    return Layout(
        width=width,
        depth=depth,
        buildings=tuple(houses),
        roads=roads,
        parking=tuple(parking),
        green=tuple(green),
        gates=gates,
        court=Rect(cx + 15, cy + 14, 32, 19),
        garden=garden,
        pond=_pond(garden, rng),
        bays=tuple(
            (strip.x + BAY_WIDTH * (i + 0.5), strip.y + strip.depth / 2)
            for i in range(int((CELL_WIDTH - 10) / BAY_WIDTH))
            for strip in parking
        ),
        kerbs=_kerbs(roads),
    )


def _roads(width: float, depth: float, xs: list[float], ys: list[float]) -> tuple[tuple[Rect, ...], tuple[Rect, ...]]:
    """A ring, a road between blocks, and one way out to each gate: south, east and west."""
    inner_w, inner_d = width - 2 * MARGIN, depth - 2 * MARGIN
    roads = [
        Rect(MARGIN, MARGIN, inner_w, ROAD),
        Rect(MARGIN, depth - MARGIN - ROAD, inner_w, ROAD),
        Rect(MARGIN, MARGIN, ROAD, inner_d),
        Rect(width - MARGIN - ROAD, MARGIN, ROAD, inner_d),
    ]
    roads += [Rect(x - ROAD, MARGIN, ROAD, inner_d) for i, x in enumerate(xs) if i and i % COLUMNS_A_BLOCK == 0]
    roads += [Rect(MARGIN, y - ROAD, inner_w, ROAD) for j, y in enumerate(ys) if j and j % ROWS_A_BLOCK == 0]
    south = Rect(width / 2 - ROAD / 2, depth - MARGIN, ROAD, MARGIN)
    east = Rect(width - MARGIN, depth / 2 - ROAD / 2, MARGIN, ROAD)
    west = Rect(0, depth / 2 - ROAD / 2, MARGIN, ROAD)
    gates = (
        Rect(south.x - 2, depth - 4, ROAD + 4, 4),
        Rect(width - 4, east.y - 2, 4, ROAD + 4),
        Rect(0, west.y - 2, 4, ROAD + 4),
    )
    return (*roads, south, east, west), gates


def _pond(garden: Rect, rng: random.Random) -> tuple[tuple[float, float], ...]:
    x, y = garden.centre
    wobble = [rng.uniform(0.78, 1.0) for _ in range(18)]
    smooth = [(wobble[i - 1] + wobble[i] + wobble[(i + 1) % 18]) / 3 for i in range(18)]
    return tuple(
        (
            x + smooth[i] * garden.width * 0.36 * math.cos(2 * math.pi * i / 18),
            y + smooth[i] * garden.depth * 0.34 * math.sin(2 * math.pi * i / 18),
        )
        for i in range(18)
    )


def _kerbs(roads: tuple[Rect, ...], spacing: float = 14.0) -> tuple[tuple[float, float], ...]:
    """Both sides of each road in turn, so that any number of posts spreads over the whole estate."""
    lines = []
    for road in roads[:-3]:
        along = road.width if road.width > road.depth else road.depth
        steps = int(along // spacing)
        for k in range(steps):
            at, side = spacing * (k + 0.5), 0.8 if k % 2 else ROAD - 0.8
            point = (road.x + at, road.y + side) if road.width > road.depth else (road.x + side, road.y + at)
            lines.append((k, point))
    lines.sort(key=lambda entry: entry[0])
    return tuple(point for _, point in lines)
