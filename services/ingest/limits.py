"""How much one publisher may say: a token bucket each, so that a device gone mad costs itself, not its neighbours."""

from __future__ import annotations

from dataclasses import dataclass

from services.domain.messages import Lane

_US = 1_000_000
_MINUTE_MS = 60_000
_SWEEP_AT = 8_192
"""Publishers in a table before those that owe nothing are forgotten for the first time: well under a millisecond."""
MOST_IN_DEBT = 65_536
"""Publishers remembered as being over their rate at the same time; beyond, those that owe least are let off."""
SPECIMENS_A_MINUTE = 5
"""Refused messages of a publisher that are kept with their payload; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`burst` messages at once, and `per_s` a second for ever after."""

    per_s: int
    burst: int

    def __post_init__(self) -> None:
        if not 1 <= self.per_s <= _US or self.burst < 1:
            raise ValueError(f"a rate is 1 to {_US} messages a second with a burst of at least 1, not {self}")


@dataclass(frozen=True, slots=True)
class Limits:
    """The defaults leave room for what honest publishers do.

    A sensor says a few messages a second at its worst. A gateway says one batch every few seconds and, after an
    outage, everything it kept as fast as the line carries it: 3,000 messages are hours of batches. A bridge that
    passes on each message of thousands of sensors gets `per_s_behind` more for each, with bursts to match.
    """

    telemetry: Rate = Rate(100, 3_000)
    events: Rate = Rate(20, 1_000)
    calls: Rate = Rate(1, 30)
    """Calls for help of one device while its publisher is over its event rate."""
    per_s_behind: int = 1


@dataclass(frozen=True, slots=True)
class Flood:
    """A publisher was over its rate: refused `count` messages since `since_ms`, the last at `last_ms`."""

    publisher: str
    since_ms: int
    last_ms: int
    count: int


class _Buckets:
    """A bucket a key as one number: when all that was said so far will have been paid for, in µs (GCRA, ITU-T I.371).

    A key whose time has passed owes nothing and is the same as one never seen, so forgetting it changes nothing:
    the table is as large as what was said within a few milliseconds, not as the registry.
    """

    __slots__ = ("_burst", "_cost", "_paid_at", "_sweep_at", "_tolerance", "most")

    def __init__(self, rate: Rate, most: int = MOST_IN_DEBT) -> None:
        self._cost = -(-_US // rate.per_s)
        self._burst = rate.burst
        self._tolerance = self._cost * (rate.burst - 1)
        self._paid_at: dict[str, int] = {}
        self._sweep_at = min(_SWEEP_AT, most)
        self.most = most

    def __len__(self) -> int:
        return len(self._paid_at)

    def admit(self, key: str, now_us: int, speed: int = 1, slack_us: int = 0) -> bool:
        """Takes one token if there is one; at `speed` n the bucket fills, and holds, n times as much.

        `slack_us`: it holds as much more as comes in so long.
        """
        cost, tolerance = self._cost, self._tolerance
        if speed > 1:
            # As many seconds of the faster rate; the floor of 1 µs holds for a bridge in front of a whole city.
            cost = max(1, cost // speed)
            tolerance = self._cost * self._burst - cost
        tolerance += slack_us
        paid_at = self._paid_at.get(key, 0)
        if paid_at <= now_us:
            paid_at = now_us
        elif paid_at - now_us > tolerance:
            if paid_at - now_us <= tolerance + self._cost:
                return False
            # More debt than can be run up: our clock was set back. Nobody is made to wait for it to catch up.
            paid_at = now_us + tolerance
        self._paid_at[key] = paid_at + cost
        if len(self._paid_at) > self._sweep_at:
            self._sweep(now_us)
        return True

    def _sweep(self, now_us: int) -> None:
        owing = {key: at for key, at in self._paid_at.items() if at > now_us}
        if len(owing) > self.most:
            worst = sorted(owing.items(), key=lambda entry: entry[1], reverse=True)
            owing = dict(worst[: self.most // 2])
        self._paid_at = owing
        self._sweep_at = min(max(_SWEEP_AT, 2 * len(owing)), self.most)


@dataclass(slots=True)
class _Refused:
    """A publisher over its rate: what was refused since it was told of last, and in the running minute."""

    since_ms: int
    last_ms: int
    count: int = 0
    minute: int = 0
    in_minute: int = 0
    told_ms: int | None = None


class Limiter:
    """Who may still speak. Deterministic: time is an argument, in epoch milliseconds; memory is bounded.

    Refusing loses nothing that its sender keeps: a refused message gets no answer with its id, neither accepted nor
    rejected, so the sender offers it again; what was sent without an id was never promised to be kept.
    """

    def __init__(self, limits: Limits | None = None, *, most: int = MOST_IN_DEBT) -> None:
        self.limits = limits or Limits()
        self._telemetry = _Buckets(self.limits.telemetry, most)
        self._events = _Buckets(self.limits.events, most)
        self._calls = _Buckets(self.limits.calls, most)
        self._refused: dict[str, _Refused] = {}
        self._most = most
        self._slack_us = 0
        self._slack_until_ms = 0

    def forgive(self, silent_ms: int, now_ms: int) -> None:
        """We could hear nobody for so long: what queued up meanwhile comes at once and is no flood.

        For as long again, and a minute at least, everybody may say what they could have said while we were deaf.
        """
        if now_ms >= self._slack_until_ms:
            self._slack_us = 0
        self._slack_us = max(self._slack_us, silent_ms * 1000)
        self._slack_until_ms = max(self._slack_until_ms, now_ms + max(silent_ms, _MINUTE_MS))

    def __len__(self) -> int:
        """Publishers remembered, over all tables."""
        return len(self._telemetry) + len(self._events) + len(self._calls) + len(self._refused)

    def admit(self, device: str, received_ms: int, lane: Lane, behind: int = 0) -> bool:
        """Whether this message of a publisher is within its rate. Once a message, before anything is decoded.

        `behind`: how many devices it speaks for. In the event lane a refusal is not the last word: decode the message
        and ask `admit_call` for each call for help in it.
        """
        buckets = self._events if lane is Lane.EVENT else self._telemetry
        speed = 1
        if behind:
            limits = self.limits
            rate = limits.events if lane is Lane.EVENT else limits.telemetry
            speed = 1 + behind * limits.per_s_behind // rate.per_s
        slack_us = self._slack_us if received_ms < self._slack_until_ms else 0
        if buckets.admit(device, received_ms * 1000, speed, slack_us):
            return True
        self._note(device, received_ms)
        return False

    def admit_call(self, device: str, received_ms: int) -> bool:
        """Whether a call for help of this device passes although its publisher is over its rate.

        It does unless the device itself calls all the time: somebody else's noise never hides a call, and of a button
        that calls without end one a second still gets through.
        """
        return self._calls.admit(device, received_ms * 1000)

    def is_specimen(self, device: str, received_ms: int) -> bool:
        """Whether the message just refused is one of the first few of its minute, to be kept with its payload."""
        refused = self._refused.get(device)
        return refused is None or refused.in_minute <= SPECIMENS_A_MINUTE

    def floods(self, now_ms: int) -> list[Flood]:
        """Publishers that were refused and not told of within the last minute; telling is what this call does."""
        due = []
        ended = []
        for publisher, refused in self._refused.items():
            told = refused.told_ms
            if told is not None and 0 <= now_ms - told < _MINUTE_MS:
                continue
            if refused.count:
                due.append(Flood(publisher, refused.since_ms, refused.last_ms, refused.count))
                refused.told_ms, refused.count = now_ms, 0
            else:
                ended.append(publisher)
        for publisher in ended:
            del self._refused[publisher]
        return due

    def _note(self, device: str, received_ms: int) -> None:
        refused = self._refused.get(device)
        if refused is None:
            if len(self._refused) >= self._most:
                # The longest known goes; if it still floods it is back at its next message.
                del self._refused[next(iter(self._refused))]
            refused = self._refused[device] = _Refused(received_ms, received_ms)
        if not refused.count:
            refused.since_ms = received_ms
        refused.last_ms = received_ms
        refused.count += 1
        minute = received_ms // _MINUTE_MS
        if refused.minute != minute:
            refused.minute, refused.in_minute = minute, 0
        refused.in_minute += 1
