"""The terms of a work order (工单时限): what its class asks for, fixed in its history when it is opened.

A class is data (`classes/*.yaml`, and what a community put in its place); its terms are written into the `create`
entry, so that an order can be folded from its history alone, whatever becomes of the class.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum, StrEnum
from typing import Any, Literal

from services.domain.vocabulary import Severity

Clock = Literal["file", "accept", "arrive", "resolve", "verify"]
CLOCKS: tuple[Clock, ...] = ("file", "accept", "arrive", "resolve", "verify")
"""In the order in which they run. `file` (立案) runs from the opening to the first dispatch, the others from there."""


class Rung(IntEnum):
    """The ladder: who is asked next."""

    TEAM = 0
    LEADER = 1
    DESK = 2
    STREET = 3
    DEPARTMENT = 4


class Mode(StrEnum):
    """How an order finds its person (派单方式)."""

    TEAM = "team"
    """The whole team on duty hears of it."""
    ASSIGN = "assign"
    """派单: the one who fits best."""
    GRAB = "grab"
    """抢单: it is offered to all on duty; who takes it first has it."""
    ROTATE = "rotate"
    """轮派: whose turn it is."""
    FIRST = "first"
    """Several at once, the nearest or least busy of them; the first to accept has it."""


@dataclass(frozen=True, slots=True)
class Span:
    """Hours of some local days (see `calendar`), 0 to 24; past midnight where `to_hour` is not after `from_hour`, and
    then they belong to the day on which they begin."""

    days: str = "all"
    from_hour: float = 0.0
    to_hour: float = 24.0


@dataclass(frozen=True, slots=True)
class Step:
    """One step up the ladder, `after_s` seconds of the class's calendar after the clock ran out."""

    after_s: float
    rung: Rung


@dataclass(frozen=True, slots=True)
class ClockTerm:
    """One clock: seconds of the class's calendar. `warn_s`: so long before it runs out it is amber (0: never).

    `night_steps`: the ladder where it runs out by night (`Terms.nights`); none: the same as by day. `again_s`: of the
    accept clock, how long after its last step, and then every so long, whoever stands on top is asked again until
    somebody accepts (0: never; see `clocks.OFTEN`).
    """

    due_s: float
    warn_s: float
    steps: tuple[Step, ...]
    night_steps: tuple[Step, ...] = ()
    again_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Terms:
    """`spans` empty: its clocks run around the clock. `needs`: move → names of what it asks for (see moves.Need)."""

    class_id: str
    class_version: int
    clocks: Mapping[Clock, ClockTerm]
    timezone: str = "Asia/Shanghai"
    spans: tuple[Span, ...] = ()
    mode: Mode = Mode.TEAM
    offer: int = 3
    """To how many at once in mode `first`."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pause_reasons: tuple[str, ...] = ()
    """Names of reasons (see pauses.REASONS) for which it may be paused; none: it may not."""
    pause_longest_s: float = 0
    """A pause ends by itself after this much time by the wall clock; 0: no limit."""
    nights: Span | None = None
    """When the ladder of the night counts."""

    def as_detail(self) -> dict[str, Any]:
        """JSON for the order's history and row."""
        return {
            "class_id": self.class_id,
            "class_version": self.class_version,
            "timezone": self.timezone,
            "spans": [_span(one) for one in self.spans],
            "clocks": {
                name: {"due_s": c.due_s, "warn_s": c.warn_s, "steps": _steps(c.steps)}
                | ({"night_steps": _steps(c.night_steps)} if c.night_steps else {})
                | ({"again_s": c.again_s} if c.again_s else {})
                for name, c in self.clocks.items()
            },
            "mode": self.mode.value,
            "offer": self.offer,
            "needs": {move: list(names) for move, names in self.needs.items()},
            "pause_reasons": list(self.pause_reasons),
            "pause_longest_s": self.pause_longest_s,
        } | ({"nights": _span(self.nights)} if self.nights else {})

    @classmethod
    def from_detail(cls, given: Mapping[str, Any]) -> Terms:
        return cls(
            class_id=given["class_id"],
            class_version=given["class_version"],
            timezone=given["timezone"],
            spans=tuple(Span(*one[:3]) for one in given["spans"]),
            clocks={
                name: ClockTerm(
                    one["due_s"],
                    one["warn_s"],
                    _read_steps(one["steps"]),
                    _read_steps(one.get("night_steps", ())),
                    one.get("again_s", 0.0),
                )
                for name in CLOCKS
                if (one := given["clocks"].get(name)) is not None
            },
            mode=Mode(given["mode"]),
            offer=given["offer"],
            needs={move: tuple(names) for move, names in given["needs"].items()},
            pause_reasons=tuple(given["pause_reasons"]),
            pause_longest_s=given["pause_longest_s"],
            nights=Span(*given["nights"]) if given.get("nights") else None,
        )

    def scaled(self, factor: float) -> Terms:
        """The same with every clock so much faster; its calendar stays."""

        def fast(seconds: float) -> float:
            return round(seconds * factor, 6)

        def steps(given: tuple[Step, ...]) -> tuple[Step, ...]:
            return tuple(Step(fast(one.after_s), one.rung) for one in given)

        clocks = {
            name: ClockTerm(
                fast(one.due_s), fast(one.warn_s), steps(one.steps), steps(one.night_steps), fast(one.again_s)
            )
            for name, one in self.clocks.items()
        }
        return replace(self, clocks=clocks, pause_longest_s=fast(self.pause_longest_s))


def _span(span: Span) -> list[Any]:
    return [span.days, span.from_hour, span.to_hour]


def _steps(steps: tuple[Step, ...]) -> list[list[float]]:
    return [[one.after_s, int(one.rung)] for one in steps]


def _read_steps(given: Iterable[Sequence[Any]]) -> tuple[Step, ...]:
    return tuple(Step(after_s, Rung(rung)) for after_s, rung in given)


_MIN, _HOUR = 60, 3600

CRITICAL_AGAIN_S = 5.0 * _MIN
"""How often it rings again at the top of the ladder for a critical order that nobody accepts, where its class says
nothing of it."""

PLAIN_FILE = ClockTerm(30 * _MIN, 450, (Step(0, Rung.DESK), Step(_HOUR, Rung.STREET)))
"""立案 within half an hour, where the class of the order says nothing of it: nothing waits for the desk unwatched."""


def with_filing(terms: Terms) -> Terms:
    """The same, with a clock for 立案."""
    if "file" in terms.clocks:
        return terms
    return replace(terms, clocks={"file": PLAIN_FILE, **terms.clocks})


def _clock(due_s: int, *steps: Step) -> ClockTerm:
    return ClockTerm(due_s, due_s // 4, steps)


def _ladder(each_s: int) -> tuple[Step, ...]:
    return tuple(
        Step(each_s * number, rung)
        for number, rung in enumerate((Rung.LEADER, Rung.DESK, Rung.STREET, Rung.DEPARTMENT))
    )


def plain_terms(severity: Severity) -> Terms:
    """The terms by severity alone, around the clock: of orders from before there were classes, and where a community's
    own classes cannot be read."""
    urgent = severity is Severity.CRITICAL
    due = (_MIN, 10 * _MIN, 4 * _HOUR, 24 * _HOUR) if urgent else (10 * _MIN, 2 * _HOUR, 24 * _HOUR, 48 * _HOUR)
    accept, arrive, resolve, verify = due
    asked = _clock(accept, *_ladder(accept))
    clocks: dict[Clock, ClockTerm] = {
        "accept": replace(asked, again_s=CRITICAL_AGAIN_S) if urgent else asked,
        "arrive": _clock(arrive, *_ladder(arrive)),
        "resolve": _clock(resolve, Step(0, Rung.DESK)),
        "verify": _clock(verify, Step(0, Rung.DESK)),
    }
    return Terms(class_id="plain", class_version=1, clocks=clocks)
