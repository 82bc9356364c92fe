"""Fewer points that look the same: Largest-Triangle-Three-Buckets (Steinarsson 2013, "Downsampling Time Series for
Visual Representation", University of Iceland, section 4.2).

Own lines and no library: the ones there are want arrays of numpy, which nothing else here needs, for a loop that costs
less than writing its answer; and none of them knows outages, over which no line may be drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]
"""Time in any unit, and value."""


def lttb(points: Sequence[Point], most: int) -> list[Point]:
    """At most `most` (at least 3) of the points, with the first and the last among them. Points by time."""
    if most < 3:
        raise ValueError("three points at least")
    if len(points) <= most:
        return list(points)
    chosen = [points[0]]
    width = (len(points) - 2) / (most - 2)
    at = 0
    for n in range(most - 2):
        begin, end = int(n * width) + 1, int((n + 1) * width) + 1
        after = points[end : min(int((n + 2) * width) + 1, len(points))] or points[-1:]
        far_x = sum(x for x, _ in after) / len(after)
        far_y = sum(y for _, y in after) / len(after)
        x0, y0 = points[at]
        largest = -1.0
        best = begin
        for index in range(begin, end):
            x, y = points[index]
            area = abs((x0 - far_x) * (y - y0) - (x0 - x) * (far_y - y0))
            if area > largest:
                largest, best = area, index
        chosen.append(points[best])
        at = best
    chosen.append(points[-1])
    return chosen


def stretches(points: Sequence[Point], gap: float) -> list[list[Point]]:
    """Cut where two neighbours lie further apart than `gap`."""
    found: list[list[Point]] = []
    for point in points:
        if not found or point[0] - found[-1][-1][0] > gap:
            found.append([])
        found[-1].append(point)
    return found


def downsample(points: Sequence[Point], most: int, gap: float) -> list[tuple[float, float | None]]:
    """Each stretch by itself, with its first and last point, and a point without a value in every hole between.

    Stretches share `most` by their lengths, and none gets fewer than its two ends; where there are more ends than
    points allowed, the answer is longer than asked rather than silent about an outage.
    """
    parts = stretches(points, gap)
    found: list[tuple[float, float | None]] = []
    for n, part in enumerate(parts):
        if n:
            found.append(((parts[n - 1][-1][0] + part[0][0]) / 2, None))
        share = max(2, round(most * len(part) / max(1, len(points))))
        found += lttb(part, share) if share >= 3 else [part[0], *part[-1:]] if len(part) > 1 else part
    return found
