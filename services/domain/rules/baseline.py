"""Seasonal baseline rules: a metric far from what is usual for this very device at this hour of the week.

Each of the 168 hours of a week has a level and a spread of its own, learned once an hour from a few samples of that
hour. Both are followed with clipped steps (Huber's location, a clipped mean deviation), so that one wild week moves
them little, and with a memory of about ten weeks, so that they follow the seasons. Public holidays live as Sundays.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from struct import Struct
from typing import TYPE_CHECKING, Any

from services.domain.calendar import local_time, working_like
from services.domain.rules.evaluation import (
    GAP_INTERVALS,
    Facts,
    Item,
    Outcome,
    Reading,
    RuleKind,
    Signal,
    State,
    What,
)
from services.domain.rules.parameters import BaselineParameters
from services.domain.rules.words import figure, metric_of, span_en, span_zh
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind

HOUR_MS = 3_600_000
WEEK_MS = 168 * HOUR_MS
BUCKETS = 168
SLOTS = 4
"""Samples an hour: one reading of each quarter. Only these change what is remembered, so only these are written."""
ENOUGH = 2
"""Of an hour with fewer samples nothing is learned (a device that reports hourly: one)."""
MEMORY = 10
"""Weeks: after so many, a new one moves a level by a tenth of its distance."""
CLIP = 3.0
"""A step goes no further than this many spreads."""
TO_SIGMA = 1.2533
"""Mean absolute deviation to standard deviation, of a normal distribution: sqrt(pi / 2)."""
ANEW_MS = 4 * WEEK_MS
"""What stands for so long is the new usual: it is cleared and learning starts again."""
STUBBORN = 3
"""An hour of the week that was flagged in so many weeks running is learned from the next time."""
_CELL = Struct("<ffB")
"""Level, spread, and in one byte how often it was learned (up to 63) and flagged since (up to 3)."""
_CHARS = 12
"""Nine bytes in base64: cells stand side by side, and one is read without the others."""
_EMPTY = b64encode(bytes(_CELL.size)).decode() * BUCKETS


@dataclass(frozen=True, slots=True)
class Cell:
    """What is usual in one hour of the week. `spread` is a robust standard deviation."""

    level: float
    spread: float
    learned: int
    flagged: int = 0


def cell(packed: str, bucket: int) -> Cell:
    start = bucket % BUCKETS * _CHARS
    level, spread, counts = _CELL.unpack(b64decode(packed[start : start + _CHARS]))
    return Cell(level, spread, counts & 63, counts >> 6)


def with_cell(packed: str, bucket: int, new: Cell) -> str:
    start = bucket % BUCKETS * _CHARS
    counts = min(new.learned, 63) | min(new.flagged, 3) << 6
    text = b64encode(_CELL.pack(new.level, new.spread, counts)).decode()
    return packed[:start] + text + packed[start + _CHARS :]


def bucket_of(ts_ms: int, facts: Facts) -> int:
    """The hour of the week, from Monday 00:00, as people live it."""
    local = local_time(ts_ms, facts.zone)
    return working_like(local.date()) * 24 + local.hour


def usual(parameters: BaselineParameters, packed: str, bucket: int, value: float) -> tuple[float, float, float] | None:
    """(level, low, high) of this hour; None while it is not known well enough.

    For a value outside, the hours before and after stretch the band where they are known: whoever cooks at ten to six
    one day and at ten past the next does nothing unusual.
    """
    here = cell(packed, bucket)
    if here.learned < parameters.min_weeks:
        return None
    low, high = _band(parameters, here)
    if low <= value <= high:
        return here.level, low, high
    for beside in (cell(packed, bucket - 1), cell(packed, bucket + 1)):
        if beside.learned >= parameters.min_weeks:
            lower, higher = _band(parameters, beside)
            low, high = min(low, lower), max(high, higher)
    return here.level, low, high


def _band(parameters: BaselineParameters, known: Cell) -> tuple[float, float]:
    reach = max(parameters.sigmas * known.spread, parameters.floor)
    return known.level - reach, known.level + reach


def learn(known: Cell, samples: Sequence[float], least: float = 0.0) -> Cell:
    """One more hour of this sort. The first one is taken as it is, later ones weigh less and less, down to a tenth.

    `least`: spread that steps are measured by where less is known, or none: on a flat line a single excursion, over
    before it fires, would else be followed as far as it went.
    """
    middle = median(samples)
    if known.learned == 0:
        spread = sum(abs(value - middle) for value in samples) / len(samples)
        return Cell(middle, TO_SIGMA * spread, 1)
    weight = 1 / min(known.learned + 1, MEMORY)
    # The first weeks go unclipped, and what never moved where nobody says by what to measure it.
    reach = CLIP * max(known.spread, least)
    clips = known.learned >= STUBBORN and reach > 0
    limit = reach if clips else abs(middle - known.level)
    step_to = max(-limit, min(limit, middle - known.level))
    off = [abs(value - known.level) for value in samples]
    if clips:
        off = [min(value, reach) for value in off]
    spread = known.spread + weight * (TO_SIGMA * sum(off) / len(off) - known.spread)
    return Cell(known.level + weight * step_to, spread, known.learned + 1)


def step(parameters: BaselineParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """State: `{"cells", "since", "slot", "bucket", "samples"}` (packed cells, first reading, newest quarter taken, the
    hour it lies in), `"flagged"` if this hour fired, with `"out", "last"` while it is off but not for long enough,
    with `"onset"` once it fired. An ordinary reading that opens no new quarter leaves it untouched.
    """
    if not isinstance(item, Reading) or item.late:
        return Outcome(state)
    value = item.value(parameters.metric)
    if value is None:
        return Outcome(state)
    slot, bucket = item.ts_ms * SLOTS // HOUR_MS, bucket_of(item.ts_ms, facts)
    known = _begin(item.ts_ms) if state is None else state
    if slot > known["slot"]:
        known = _sampled(parameters, known, slot, bucket, value, facts)
    return _judge(parameters, known, item, value, bucket, facts)


def _begin(ts_ms: int) -> dict[str, Any]:
    return {"cells": _EMPTY, "since": ts_ms, "slot": -1, "bucket": 0, "samples": []}


def _sampled(
    parameters: BaselineParameters, state: dict[str, Any], slot: int, bucket: int, value: float, facts: Facts
) -> dict[str, Any]:
    """Takes the sample; with the first one of an hour, what the hour before it taught is written down."""
    new = dict(state)
    if slot // SLOTS != state["slot"] // SLOTS:
        new["cells"] = _taught(parameters, state, facts)
        new["samples"] = []
        new.pop("flagged", None)
        if "onset" in state:
            new["flagged"] = True
    new["slot"], new["bucket"] = slot, bucket
    new["samples"] = [*new["samples"], float(f"{value:.6g}")]
    return new


def _taught(parameters: BaselineParameters, state: dict[str, Any], facts: Facts) -> str:
    packed, samples = str(state["cells"]), state["samples"]
    # What is off already, and not yet for long enough, would make the hour beside it think that usual.
    if "out" in state or len(samples) < min(ENOUGH, max(1, HOUR_MS // facts.interval_ms)):
        return packed
    known = cell(packed, state["bucket"])
    if "flagged" in state and known.flagged < STUBBORN:
        return with_cell(packed, state["bucket"], Cell(known.level, known.spread, known.learned, known.flagged + 1))
    if "flagged" in state:
        # Flagged week after week: that is how it is now.
        return with_cell(packed, state["bucket"], learn(Cell(0.0, 0.0, 0), samples))
    least = parameters.floor / parameters.sigmas
    return with_cell(packed, state["bucket"], learn(known, samples, least))


def _judge(
    parameters: BaselineParameters, state: dict[str, Any], item: Reading, value: float, bucket: int, facts: Facts
) -> Outcome:
    onset = state.get("onset")
    if onset is not None and item.ts_ms - onset >= ANEW_MS:
        return Outcome(_begin(item.ts_ms), (Signal(What.CLEAR, item.ts_ms, onset, value),))
    band = None
    if item.ts_ms - state["since"] >= parameters.min_weeks * WEEK_MS:
        band = usual(parameters, state["cells"], bucket, value)
    if band is None:
        return Outcome(_without(state, "out", "last"))
    level, low, high = band
    above = parameters.direction != "below" and value > high
    below = parameters.direction != "above" and value < low
    if not above and not below:
        if onset is None:
            return Outcome(_without(state, "out", "last"))
        return Outcome(_without(state, "onset"), (Signal(What.CLEAR, item.ts_ms, onset, value),))
    if onset is not None:
        return Outcome(state)
    fresh = "out" not in state or item.ts_ms - state["last"] > GAP_INTERVALS * facts.interval_ms
    out = item.ts_ms if fresh else state["out"]
    if item.ts_ms - out < parameters.for_s * 1000:
        return Outcome({**state, "out": out, "last": item.ts_ms})
    data = {"usual": float(f"{level:.6g}"), "band": float(f"{(high if above else low):.6g}")}
    fired = {**_without(state, "out", "last"), "onset": out, "flagged": True}
    return Outcome(fired, (Signal(What.FIRE, item.ts_ms, out, value, data),))


def _without(state: dict[str, Any], *names: str) -> dict[str, Any]:
    """The same object where none of them is there, so that nothing is written."""
    if not any(name in state for name in names):
        return state
    return {name: value for name, value in state.items() if name not in names}


def tick(parameters: BaselineParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """Only readings speak here."""
    return Outcome(state)


def observes(state: dict[str, Any]) -> State:
    """As RuleKind.observes: it learns all the time."""
    return _without(state, "out", "last", "onset")


def check(parameters: BaselineParameters) -> None:
    """ValueError where nothing could be judged so."""
    if parameters.direction not in ("above", "below", "both"):
        raise ValueError("direction is above, below or both")
    if parameters.sigmas <= 0 or parameters.floor <= 0:
        raise ValueError("sigmas and floor are above 0")
    if not 1 <= parameters.min_weeks <= 63:
        raise ValueError("min_weeks is from 1 to 63")


def reason(kind: DeviceKind, parameters: BaselineParameters, signal: Signal) -> Label:
    metric = metric_of(kind, parameters.metric)
    name = metric.label if metric else Label(parameters.metric, parameters.metric)
    lasting = Label("", "")
    if parameters.for_s:
        lasting = Label(f"，已 {span_zh(parameters.for_s)}", f", for {span_en(parameters.for_s)}")
    level, value = signal.data.get("usual"), signal.value
    if level is None or value is None or (metric is not None and metric.health):
        return Label(f"{name.zh}明显异于该时段平时{lasting.zh}", f"{name.en} far from usual at this hour{lasting.en}")
    unit = f" {metric.unit}" if metric and metric.unit else ""
    zh, en = ("高于", "above") if value > level else ("低于", "below")
    return Label(
        f"{name.zh} {figure(value)}{unit}，远{zh}该时段平时的 {figure(level)}{unit}{lasting.zh}",
        f"{name.en} {figure(value)}{unit}, far {en} the {figure(level)}{unit} usual at this hour{lasting.en}",
    )


KIND = RuleKind(BaselineParameters, step, tick, reads=(Reading,), reason=reason, observes=observes)
