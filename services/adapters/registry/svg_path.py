"""Paths and transformations of SVG 1.1 as points: curves become chords, nothing is drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from math import acos, ceil, cos, hypot, isfinite, pi, radians, sin, sqrt, tan

Point = tuple[float, float]
Matrix = tuple[float, float, float, float, float, float]
"""a b c d e f of SVG: x' = ax + cy + e, y' = bx + dy + f."""
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)

_TOKEN = re.compile(r"[MmLlHhVvCcSsQqTtAaZz]|[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")
_CALL = re.compile(r"(matrix|translate|scale|rotate|skewX|skewY)\s*\(([^)]*)\)")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")
_ARGUMENTS = {"M": 2, "L": 2, "H": 1, "V": 1, "C": 6, "S": 4, "Q": 4, "T": 2, "A": 7, "Z": 0}
_CHORDS = 10
MOST_TOKENS = 400_000


def numbers(text: str) -> list[float]:
    return [value for one in _NUMBER.findall(text) if isfinite(value := float(one))]


def multiply(m: Matrix, n: Matrix) -> Matrix:
    """First n, then m."""
    return (
        m[0] * n[0] + m[2] * n[1],
        m[1] * n[0] + m[3] * n[1],
        m[0] * n[2] + m[2] * n[3],
        m[1] * n[2] + m[3] * n[3],
        m[0] * n[4] + m[2] * n[5] + m[4],
        m[1] * n[4] + m[3] * n[5] + m[5],
    )


def apply(m: Matrix, point: Point) -> Point:
    x, y = point
    return m[0] * x + m[2] * y + m[4], m[1] * x + m[3] * y + m[5]


def transformation(text: str) -> Matrix:
    """Of a `transform` attribute; what is not understood changes nothing."""
    whole = IDENTITY
    for name, inside in _CALL.findall(text[:2_000]):
        n = numbers(inside)
        if name == "matrix" and len(n) == 6:
            step: Matrix = (n[0], n[1], n[2], n[3], n[4], n[5])
        elif name == "translate" and n:
            step = (1, 0, 0, 1, n[0], n[1] if len(n) > 1 else 0)
        elif name == "scale" and n:
            step = (n[0], 0, 0, n[1] if len(n) > 1 else n[0], 0, 0)
        elif name == "rotate" and n:
            turn = radians(n[0])
            step = (cos(turn), sin(turn), -sin(turn), cos(turn), 0, 0)
            if len(n) == 3:
                step = multiply(multiply((1, 0, 0, 1, n[1], n[2]), step), (1, 0, 0, 1, -n[1], -n[2]))
        elif name in ("skewX", "skewY") and n and abs(n[0]) < 89:
            slope = tan(radians(n[0]))
            step = (1, 0, slope, 1, 0, 0) if name == "skewX" else (1, slope, 0, 1, 0, 0)
        else:
            continue
        whole = multiply(whole, step)
    return whole


def ellipse(cx: float, cy: float, rx: float, ry: float, corners: int = 24) -> list[Point]:
    return [(cx + rx * cos(2 * pi * k / corners), cy + ry * sin(2 * pi * k / corners)) for k in range(corners)]


def subpaths(text: str) -> Iterator[list[Point]]:
    """Each stretch between two moves. Raises ValueError for what is no path."""
    tokens = _TOKEN.findall(text)
    if len(tokens) > MOST_TOKENS:
        raise ValueError("too long")
    at: Point = (0.0, 0.0)
    start, control, before = at, at, ""
    points: list[Point] = []
    place, command = 0, ""
    while place < len(tokens):
        if tokens[place].isalpha():
            command = tokens[place]
            place += 1
        elif not command or command in "Zz":
            raise ValueError("numbers without a command")
        kind = command.upper()
        need = _ARGUMENTS[kind]
        n = [float(one) for one in tokens[place : place + need] if not one.isalpha()]
        if len(n) < need or not all(map(isfinite, n)):
            raise ValueError("numbers are missing")
        place += need
        ox, oy = at if command.islower() else (0.0, 0.0)
        if kind == "M":
            if len(points) > 1:
                yield points
            at = start = (n[0] + ox, n[1] + oy)
            points = [at]
            command = "l" if command == "m" else "L"
        elif kind == "Z":
            at = start
            if len(points) > 1:
                yield points
            points = [at]
        elif kind in "LHV":
            at = (n[0] + ox, at[1]) if kind == "H" else (at[0], n[0] + oy) if kind == "V" else (n[0] + ox, n[1] + oy)
            points.append(at)
        elif kind == "A":
            to = (n[5] + ox, n[6] + oy)
            points += _arc(at, n[0], n[1], n[2], n[3] != 0, n[4] != 0, to)
            at = to
        else:
            mirrored = (2 * at[0] - control[0], 2 * at[1] - control[1])
            if kind == "C":
                poles = [(n[0] + ox, n[1] + oy), (n[2] + ox, n[3] + oy), (n[4] + ox, n[5] + oy)]
            elif kind == "S":
                poles = [mirrored if before in "CS" else at, (n[0] + ox, n[1] + oy), (n[2] + ox, n[3] + oy)]
            elif kind == "Q":
                poles = [(n[0] + ox, n[1] + oy), (n[2] + ox, n[3] + oy)]
            else:
                poles = [mirrored if before in "QT" else at, (n[0] + ox, n[1] + oy)]
            points += _bezier([at, *poles])
            control, at = poles[-2], poles[-1]
        before = kind
    if len(points) > 1:
        yield points


def _bezier(poles: list[Point]) -> list[Point]:
    found = []
    for step in range(1, _CHORDS + 1):
        share = step / _CHORDS
        line = poles
        while len(line) > 1:
            line = [(a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share) for a, b in pairwise(line)]
        found.append(line[0])
    return found


def _arc(at: Point, rx: float, ry: float, turn: float, large: bool, sweep: bool, to: Point) -> list[Point]:
    """By the centre (SVG 1.1, F.6.5)."""
    rx, ry = abs(rx), abs(ry)
    if rx == 0 or ry == 0 or at == to:
        return [to]
    phi = radians(turn % 360)
    c, s = cos(phi), sin(phi)
    hx, hy = (at[0] - to[0]) / 2, (at[1] - to[1]) / 2
    x, y = c * hx + s * hy, -s * hx + c * hy
    grow = (x / rx) ** 2 + (y / ry) ** 2
    if grow > 1:
        rx, ry = rx * sqrt(grow), ry * sqrt(grow)
    under = (rx * y) ** 2 + (ry * x) ** 2
    root = sqrt(max(0.0, ((rx * ry) ** 2 - under) / under)) if under else 0.0
    if large == sweep:
        root = -root
    mx, my = root * rx * y / ry, -root * ry * x / rx
    cx, cy = c * mx - s * my + (at[0] + to[0]) / 2, s * mx + c * my + (at[1] + to[1]) / 2
    begin = _angle(1, 0, (x - mx) / rx, (y - my) / ry)
    swept = _angle((x - mx) / rx, (y - my) / ry, (-x - mx) / rx, (-y - my) / ry)
    if not sweep and swept > 0:
        swept -= 2 * pi
    elif sweep and swept < 0:
        swept += 2 * pi
    steps = max(2, ceil(abs(swept) / (pi / 12)))
    found = []
    for k in range(1, steps + 1):
        angle = begin + swept * k / steps
        ex, ey = rx * cos(angle), ry * sin(angle)
        found.append((c * ex - s * ey + cx, s * ex + c * ey + cy))
    return found


def _angle(ux: float, uy: float, vx: float, vy: float) -> float:
    length = hypot(ux, uy) * hypot(vx, vy)
    if length == 0:
        return 0.0
    found = acos(max(-1.0, min(1.0, (ux * vx + uy * vy) / length)))
    return -found if ux * vy - uy * vx < 0 else found
