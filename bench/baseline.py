"""False alerts and detection of the seasonal baseline: on a simulated year of meters, and on real series of meters.

    python -m bench.baseline            # simulated electricity and water meters
    python -m bench.baseline FOLDER     # and the samples of eemeter 4.1.1 in that folder (see device_sim.real)

Detection: in each of 20 weeks of the second half, at a drawn hour, something is left on for six hours on
top of what the household uses anyway. It counts as found when the rule fires within it, and was not firing before.
"""

from __future__ import annotations

import csv
import gzip
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from device_sim.life import Surroundings, live
from device_sim.presets import BY_NAME as PRESETS
from device_sim.presets.generate import generate
from device_sim.real import ELECTRICITY
from services.adapters.rules.files import load_defaults
from services.domain.ids import DeviceNo
from services.domain.rules.baseline import step
from services.domain.rules.evaluation import Facts, Reading, State, What
from services.domain.rules.parameters import BaselineParameters

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
YEAR_DAYS = 365
Series = Sequence[tuple[int, float]]


@dataclass
class Outcome:
    fired: list[int]
    found: int = 0
    tried: int = 0
    days: float = 0.0
    writes: int = 0
    readings: int = 0
    seconds: float = 0.0
    bytes: int = 0


def run(rule: BaselineParameters, series: Series, interval_ms: int, added: Callable[[int], float]) -> Outcome:
    """Feeds one device; `added` is what an injected change adds at a time."""
    facts, state, out = Facts(interval_ms=interval_ms), None, Outcome([])
    positions = {rule.metric: 0}
    items = [Reading(DeviceNo(1), ts, ts, (value + added(ts),), positions) for ts, value in series]
    began = time.process_time()
    for item in items:
        before: State = state
        outcome = step(rule, before, item, facts, item.received_ms)
        state = outcome.state
        out.writes += state is not before
        out.fired += [signal.ts_ms for signal in outcome.signals if signal.what is What.FIRE]
    out.seconds = time.process_time() - began
    out.readings, out.days = len(items), (series[-1][0] - series[0][0]) / DAY_MS
    out.bytes = len(str(state))
    return out


def injections(series: Series, seed: int, size: float, hours: float) -> list[tuple[int, int, float]]:
    """(from, to, size) in 20 weeks of the second half, one a week at most."""
    rng = random.Random(seed)
    first, last = series[0][0], series[-1][0]
    weeks = int((last - first) / 2 / DAY_MS / 7)
    found = []
    for week in sorted(rng.sample(range(weeks), min(20, weeks))):
        start = (first + last) // 2 + week * 7 * DAY_MS + rng.randrange(6 * 24) * HOUR_MS
        found.append((start, int(start + hours * HOUR_MS), size))
    return found


def detection(rule: BaselineParameters, series: Series, interval_ms: int, size: float, hours: float) -> tuple[int, int]:
    put = injections(series, 7, size, hours)

    def added(ts: int) -> float:
        return next((extra for start, end, extra in put if start <= ts < end), 0.0)

    fired = run(rule, series, interval_ms, added).fired
    found = sum(any(start <= ts < end + HOUR_MS for ts in fired) for start, end, _ in put)
    return found, len(put)


def simulated(kind: str, count: int, interval_s: int) -> Iterator[Series]:
    """A year of households' meters of the preset 公园社区, from 1 January 2026."""
    community = generate(PRESETS["gongyuan"], 0.05)
    around = Surroundings(community, seed=3)
    metric = "power" if kind == "electricity_meter" else "flow"
    start = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    homes = [device for device in community.devices if device.kind == kind and device.household_id][:count]
    for device in homes:
        life = live(device, 3)
        moments = range(start, start + YEAR_DAYS * DAY_MS, interval_s * 1000)
        yield [(ts, float(life.look(around, ts).values[metric])) for ts in moments]


def real(folder: Path) -> Iterator[tuple[str, Series, int]]:
    """Mean power in W of each step, in order; the samples overlap nowhere within a file."""
    for name in ELECTRICITY:
        with gzip.open(folder / name, "rt") as packed:
            rows = [row for row in csv.DictReader(packed) if row["value"] not in ("", "nan")]
        at = [datetime.fromisoformat(row["start"]).replace(tzinfo=UTC) for row in rows]
        interval = min(after - before for before, after in pairwise(at) if after > before)
        per_h = timedelta(hours=1) / interval
        points = {
            int(when.timestamp() * 1000): float(row["value"]) * per_h * 1000 for when, row in zip(at, rows, strict=True)
        }
        # The samples are British; what they call seven o'clock is put at seven o'clock here.
        shifted = sorted((ts - 8 * HOUR_MS, value) for ts, value in points.items())
        yield name.split("-")[-1].split(".")[0], shifted, int(interval.total_seconds() * 1000)


def default(kind: str) -> BaselineParameters:
    return next(rule.parameters for rule in load_defaults()[kind] if isinstance(rule.parameters, BaselineParameters))


def line(*cells: Any) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def report(label: str, rule: BaselineParameters, series: Series, interval_ms: int, sizes: Sequence[float]) -> None:
    quiet = run(rule, series, interval_ms, lambda ts: 0.0)
    learned = quiet.days - rule.min_weeks * 7
    rate = len(quiet.fired) / learned * 365
    found = [detection(rule, series, interval_ms, size, 6) for size in sizes]
    micros = quiet.seconds / quiet.readings * 1e6
    per_day = quiet.writes / quiet.days
    middle = statistics.median(value for _, value in series)
    line(
        label, round(quiet.days), f"{middle:.3g}", len(quiet.fired), f"{rate:.1f}",
        *(f"{hit}/{tried}" for hit, tried in found), f"{micros:.1f}", f"{per_day:.0f}", quiet.bytes,
    )  # fmt: skip


def main() -> None:
    head = "series,days,median,alerts,a year,+{} 6 h,+{} 6 h,+{} 6 h,µs a reading,writes a day,bytes"
    for kind, interval_s, count, sizes in (
        ("electricity_meter", 300, 6, (1000.0, 2000.0, 3000.0)),
        ("water_meter", 900, 6, (0.1, 0.2, 0.5)),
    ):
        rule = default(kind)
        print(f"\n{kind}: {rule}")
        cells = head.format(*sizes).split(",")
        line(*cells)
        line(*("---" for _ in cells))
        for number, series in enumerate(simulated(kind, count, interval_s), 1):
            report(f"simulated {number}", rule, series, interval_s * 1000, sizes)
        if kind == "electricity_meter" and len(sys.argv) > 1:
            for label, series, interval_ms in real(Path(sys.argv[1])):
                report(f"real {label}", rule, series, interval_ms, sizes)


if __name__ == "__main__":
    main()
