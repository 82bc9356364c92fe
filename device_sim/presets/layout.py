"""Draws an estate: rows of blocks facing south between roads, lawns and bays before them, a park with a pond, a
community centre, a court, a belt of trees inside the wall, gates."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from services.domain.drawing import layered

Shape = dict[str, Any]

CELL_WIDTH = 62.0
CELL_DEPTH = 48.0
ROAD = 8.0
MARGIN = 12.0
COLUMNS_A_BLOCK = 3
ROWS_A_BLOCK = 2
BAY_WIDTH = 2.6
_SPECIAL = ("garden", "court", "centre")


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
    """The drawn estate. `bays` are the middles of parking bays, `kerbs` where lamp posts may stand, `stations` the bin
    station of each block, `wall` points along the wall. `cells` says in which cell of the grid each block stands."""

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
    stations: tuple[Rect, ...]
    wall: tuple[tuple[float, float], ...]
    centre: Rect
    cells: tuple[int, ...]
    lines: tuple[tuple[float, ...], tuple[float, ...]]
    """The x and y at which columns and rows of cells meet."""
    details: tuple[Shape, ...]
    """What nothing else refers to: paths, trees, marks."""

    def plan(self, compounds: Sequence[str] = (), grids: Sequence[str] = ()) -> dict[str, Any]:
        """As the registry keeps it, from the ground up; named are 小区 and 网格, in the order of their blocks."""
        shapes: list[Shape] = []
        for kind, names in (("boundary", compounds), ("grid", grids)):
            shapes += [
                {"kind": kind, "name": name, "points": self._region(n, len(names))} for n, name in enumerate(names)
            ]
        named = {
            "green": (*self.green, self.garden),
            "road": self.roads,
            "parking": self.parking,
            "court": (self.court,),
            "centre": (self.centre,),
            "bin": self.stations,
            "gate": self.gates,
        }
        shapes += [
            {"kind": kind, "points": _soft(rect, 1.6) if kind == "green" else rect.corners}
            for kind, rects in named.items()
            for rect in rects
        ]
        shapes.append({"kind": "water", "points": _tidy(self.pond)})
        return {
            "width": round(self.width, 1),
            "height": round(self.depth, 1),
            "shapes": layered([*shapes, *self.details]),
        }

    def _region(self, number: int, of: int) -> list[list[float]]:
        """Around the blocks of the `number`th of so many parts: they follow each other row by row, so it has steps."""
        mine = [cell for n, cell in enumerate(self.cells) if n * of // len(self.cells) == number]
        xs, ys = self.lines
        columns = len(xs) - 1
        first = 0 if number == 0 else min(mine)
        last = columns * (len(ys) - 1) if number == of - 1 else _next(self.cells, max(mine))
        (top, left), (bottom, right) = divmod(first, columns), divmod(last - 1, columns)
        right += 1
        if top == bottom:
            return [[xs[left], ys[top]], [xs[right], ys[top]], [xs[right], ys[top + 1]], [xs[left], ys[top + 1]]]
        points = [[xs[left], ys[top]], [xs[columns], ys[top]], [xs[columns], ys[bottom]]]
        points += [[xs[right], ys[bottom]], [xs[right], ys[bottom + 1]], [xs[0], ys[bottom + 1]], [xs[0], ys[top + 1]]]
        points.append([xs[left], ys[top + 1]])
        return [point for n, point in enumerate(points) if point != points[n - 1]]


def _next(cells: Sequence[int], cell: int) -> int:
    """The first cell of the next part: what lies between belongs to this one."""
    return min(other for other in cells if other > cell)


def _tidy(points: Iterable[tuple[float, float]]) -> list[list[float]]:
    return [[round(x, 1), round(y, 1)] for x, y in points]


def lay_out(buildings: int, rng: random.Random) -> Layout:
    """Places `buildings` blocks; the middle cells become the garden, the court and the community centre."""
    cells = buildings + len(_SPECIAL)
    columns = max(3, round(math.sqrt(cells * CELL_DEPTH / CELL_WIDTH * 1.5)))
    rows = math.ceil(cells / columns)
    xs = [MARGIN + ROAD + i * CELL_WIDTH + (i // COLUMNS_A_BLOCK) * ROAD for i in range(columns)]
    ys = [MARGIN + ROAD + j * CELL_DEPTH + (j // ROWS_A_BLOCK) * ROAD for j in range(rows)]
    width, depth = xs[-1] + CELL_WIDTH + ROAD + MARGIN, ys[-1] + CELL_DEPTH + ROAD + MARGIN
    grid = [(xs[i], ys[j]) for j in range(rows) for i in range(columns)]
    middle = (rows // 2) * columns + columns // 2
    special = dict(zip(_SPECIAL, (middle, middle - 1, middle - columns if rows > 1 else middle + 1), strict=True))
    free = [cell for cell in range(len(grid)) if cell not in special.values()]
    taken, spare = free[:buildings], free[buildings:]

    roads, gates = _roads(width, depth, xs, ys)
    details: list[Shape] = []
    houses, lawns, parking, stations = [], [], [], []
    # A row is of one sort, as one builder made it; the first, in the north, throws its shade on nobody.
    slabs = [row > 0 and rng.random() < 0.75 for row in range(rows)]
    shift = [rng.uniform(-2.5, 2.5) for _ in range(rows)]
    for cell in taken:
        (x, y), row = grid[cell], cell // columns
        w, d = (
            (rng.uniform(44, 52), rng.uniform(12, 13.5)) if slabs[row] else (rng.uniform(25, 28), rng.uniform(16, 18))
        )
        left = x + (CELL_WIDTH - w) / 2 + (shift[row] if slabs[row] else rng.uniform(-6, 6))
        house = Rect(round(left, 1), y + 6, round(w, 1), round(d, 1))
        lawn, bays = Rect(x + 4, y + 27, CELL_WIDTH - 8, 10), Rect(x + 5, y + 40, CELL_WIDTH - 10, 5.5)
        station = Rect(round(house.x + house.width - 6, 1), round(house.y + house.depth + 0.8, 1), 5.2, 1.8)
        houses.append(house)
        lawns.append(lawn)
        parking.append(bays)
        stations.append(station)
        details += _around(x, y, house, lawn, bays, rng)
    wild = [Rect(grid[cell][0] + 3, grid[cell][1] + 5, CELL_WIDTH - 6, CELL_DEPTH - 8) for cell in spare]
    for rect in wild:
        details += _trees(rect, 12, rng)
    belts = list(_belts(width, depth))
    for belt in belts:
        details += _row_of_trees(belt, rng)
    gx, gy = grid[special["garden"]]
    garden = Rect(gx + 2, gy + 2, CELL_WIDTH - 4, CELL_DEPTH - 4)
    pond = _pond(garden, rng)
    details += _park(garden, pond, rng)
    cx, cy = grid[special["court"]]
    court = Rect(cx + 8, cy + 12, 32, 19)
    details += _court(court)
    play = Rect(cx + 44, cy + 13, 12, 16)
    details.append({"kind": "play", "points": _soft(play, 3)})
    zx, zy = grid[special["centre"]]
    grounds = (Rect(cx + 3, cy + 5, CELL_WIDTH - 6, CELL_DEPTH - 9), Rect(zx + 3, zy + 6, CELL_WIDTH - 6, 36))
    for at in (5.5, 20, 34.5):
        details += [_tree(cx + at, cy + 8.5, rng), _tree(cx + at + 7, cy + 39, rng)]
    centre = Rect(zx + 15, zy + 8, 32, 15)
    details += _plaza(zx, zy, centre, rng)
    details += [
        {"kind": "lane", "points": _middle(road)} for road in roads[:-3] if max(road.width, road.depth) > 4 * ROAD
    ]
    return Layout(
        width=width,
        depth=depth,
        buildings=tuple(houses),
        roads=roads,
        parking=tuple(parking),
        green=(*lawns, *wild, *grounds, *belts),
        gates=gates,
        court=court,
        garden=garden,
        pond=pond,
        bays=tuple(
            (strip.x + BAY_WIDTH * (i + 0.5), strip.y + strip.depth / 2)
            for i in range(int((CELL_WIDTH - 10) / BAY_WIDTH))
            for strip in parking
        ),
        kerbs=_kerbs(roads),
        stations=tuple(stations),
        wall=_wall(width, depth),
        centre=centre,
        cells=tuple(taken),
        lines=(_between(xs, CELL_WIDTH, width), _between(ys, CELL_DEPTH, depth)),
        details=tuple(details),
    )


def _between(starts: Sequence[float], size: float, whole: float) -> tuple[float, ...]:
    """Where one column or row ends and the next begins: the middle of what lies between; the wall at both ends."""
    inner = [round((a + size + b) / 2, 1) for a, b in pairwise(starts)]
    return (2.0, *inner, round(whole - 2, 1))


def _around(x: float, y: float, house: Rect, lawn: Rect, bays: Rect, rng: random.Random) -> Iterator[Shape]:
    """The path to the doors in the north, the way through the lawn, trees, and the lines between the bays."""
    yield {"kind": "path", "points": Rect(x, y + 1.6, CELL_WIDTH, 2.2).corners}
    doors = max(1, round(house.width / 16))
    for door in range(doors):
        at = house.x + house.width * (door + 0.5) / doors
        yield {"kind": "path", "points": Rect(at - 0.8, y + 3.8, 1.6, 2.2).corners}
    way = lawn.x + lawn.width * rng.uniform(0.3, 0.7)
    yield {"kind": "path", "points": Rect(way, lawn.y - 0.4, 1.6, bays.y - lawn.y + 0.4).corners}
    yield {"kind": "bay", "points": _middle(bays)}
    for tree in range(7):
        at = lawn.x + 3 + (lawn.width - 6) * tree / 6 + rng.uniform(-1.5, 1.5)
        if abs(at - way - 0.8) > 3:
            yield _tree(at, lawn.y + (2.4 if tree % 2 else lawn.depth - 2.6) + rng.uniform(-0.5, 0.5), rng)


def _belts(width: float, depth: float) -> Iterator[Rect]:
    """Green between the wall and the ring road, open at the gates."""
    near, far = 3.0, MARGIN - 1.5
    yield Rect(near, near, width - 2 * near, far - near)
    half_w, half_d = width / 2 - ROAD, depth / 2 - ROAD
    for start, length in ((near, half_w - near), (width / 2 + ROAD, half_w - near)):
        yield Rect(start, depth - far, length, far - near)
    for start, length in ((far, half_d - far), (depth / 2 + ROAD, half_d - far)):
        yield Rect(near, start, far - near, length)
        yield Rect(width - far, start, far - near, length)


def _row_of_trees(belt: Rect, rng: random.Random) -> Iterator[Shape]:
    along = max(belt.width, belt.depth)
    steps = int(along // 15)
    for k in range(steps):
        at = along * (k + 0.5) / steps + rng.uniform(-2, 2)
        across = min(belt.width, belt.depth) / 2 + rng.uniform(-0.8, 0.8)
        yield _tree(
            *((belt.x + at, belt.y + across) if belt.width > belt.depth else (belt.x + across, belt.y + at)), rng
        )


def _trees(rect: Rect, count: int, rng: random.Random) -> Iterator[Shape]:
    for k in range(count):
        x = rect.x + rect.width * ((k % 4) + 0.5) / 4 + rng.uniform(-4, 4)
        y = rect.y + rect.depth * ((k // 4) + 0.5) / math.ceil(count / 4) + rng.uniform(-3, 3)
        yield _tree(x, y, rng)


def _tree(x: float, y: float, rng: random.Random) -> Shape:
    radius, turn = rng.uniform(1.5, 2.6), rng.uniform(0, 1)
    points = [
        (
            x + radius * rng.uniform(0.85, 1.1) * math.cos((k + turn) * math.pi / 4),
            y + radius * rng.uniform(0.85, 1.1) * math.sin((k + turn) * math.pi / 4),
        )
        for k in range(8)
    ]
    return {"kind": "tree", "points": _tidy(points)}


def _park(garden: Rect, pond: Sequence[tuple[float, float]], rng: random.Random) -> Iterator[Shape]:
    """A walk around the pond, ways to it from four sides, trees in the corners."""
    x, y = garden.centre
    yield {"kind": "path", "points": _tidy((x + (px - x) * 1.22, y + (py - y) * 1.26) for px, py in pond)}
    yield {"kind": "path", "points": Rect(garden.x, y - 0.9, garden.width, 1.8).corners}
    yield {"kind": "path", "points": Rect(x - 0.9, garden.y, 1.8, garden.depth).corners}
    for dx, dy in (
        (0.1, 0.12),
        (0.24, 0.07),
        (0.9, 0.12),
        (0.77, 0.07),
        (0.1, 0.88),
        (0.24, 0.94),
        (0.9, 0.88),
        (0.76, 0.94),
    ):
        yield _tree(garden.x + garden.width * dx, garden.y + garden.depth * dy, rng)


def _court(court: Rect) -> Iterator[Shape]:
    inner = Rect(court.x + 1.5, court.y + 1.5, court.width - 3, court.depth - 3)
    corners = inner.corners
    for n in range(4):
        yield {"kind": "mark", "points": [corners[n - 1], corners[n]]}
    x, y = court.centre
    yield {"kind": "mark", "points": _tidy([(x, inner.y), (x, inner.y + inner.depth)])}
    for side in (-1, 1):
        edge, near = x + side * inner.width / 2, x + side * (inner.width / 2 - 5.8)
        lane = [(edge, y - 2.5), (near, y - 2.5), (near, y + 2.5), (edge, y + 2.5)]
        for a, b in pairwise(lane):
            yield {"kind": "mark", "points": _tidy([a, b])}


def _plaza(x: float, y: float, centre: Rect, rng: random.Random) -> Iterator[Shape]:
    """Paved ground before the community centre, with trees at its edge."""
    yield {"kind": "path", "points": _soft(Rect(x + 8, y + 4, CELL_WIDTH - 16, CELL_DEPTH - 10), 4)}
    for k in range(5):
        yield _tree(x + 13 + 9 * k, y + CELL_DEPTH - 11, rng)
    yield {"kind": "path", "points": Rect(x, centre.y + centre.depth + 4, CELL_WIDTH, 2.4).corners}


def _soft(rect: Rect, radius: float) -> list[list[float]]:
    """With round corners."""
    points = []
    for cx, cy, start in (
        (rect.x + radius, rect.y + radius, 180),
        (rect.x + rect.width - radius, rect.y + radius, 270),
        (rect.x + rect.width - radius, rect.y + rect.depth - radius, 0),
        (rect.x + radius, rect.y + rect.depth - radius, 90),
    ):
        for step in (0, 30, 60, 90):
            turn = math.radians(start + step)
            points.append((cx + radius * math.cos(turn), cy + radius * math.sin(turn)))
    return _tidy(points)


def _middle(rect: Rect) -> list[list[float]]:
    x, y = rect.centre
    return _tidy(
        [(rect.x, y), (rect.x + rect.width, y)] if rect.width > rect.depth else [(x, rect.y), (x, rect.y + rect.depth)]
    )


def _wall(width: float, depth: float) -> tuple[tuple[float, float], ...]:
    """The four corners first, then the middles of the sides, then between them."""
    near = 2.5
    corners = [(near, near), (width - near, near), (width - near, depth - near), (near, depth - near)]
    found = list(corners)
    for share in (0.33, 0.67, 0.17, 0.83, 0.44, 0.58):
        for (x, y), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
            found.append((x + (x2 - x) * share, y + (y2 - y) * share))
    return tuple(found)


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
