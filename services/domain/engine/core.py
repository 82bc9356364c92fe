"""The alert engine's heart: a deterministic fold of the committed log into decisions. No IO, no clock.

What a rule says of a subject is a fold over that subject's own items in the order of the log, with the rule's own clock
run exactly when it is due: before an item that was received at or after it, else by `tick`, and told its due time as
now. So the same log comes to the same alerts however it was cut into turns and whenever somebody ticked. Offline is
judged by `tick` alone and at its time, since it is about what did not come (docs/decisions/0017).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from services.domain.engine.alerts import Alerts
from services.domain.engine.clocks import AT_ONCE, Clocks, next_before
from services.domain.engine.decisions import Decided, Decision, OpenAlert, StateChange, shadowed
from services.domain.engine.device_clock import DRIFT, SLOW_MS, learn
from services.domain.engine.edits import FAILED, OTHER_WATCH
from services.domain.engine.gate import gate, gate_at, restrain
from services.domain.engine.gatherings import Gatherings, Move
from services.domain.engine.hold.memory import is_reserved
from services.domain.engine.lateness import LATE_MS as LATE_MS
from services.domain.engine.lateness import LATE_SAFETY_MS as LATE_SAFETY_MS
from services.domain.engine.lateness import judged_event, judged_reading
from services.domain.engine.liveness import Liveness, presence
from services.domain.engine.platform import NOBODY, PLATFORM
from services.domain.engine.remembering import put_back_drift, put_back_seen, seen_of, states_of
from services.domain.engine.set_aside import SetAside
from services.domain.engine.subjects import NEVER, Compiled, Roster, Seen, Subject
from services.domain.ids import DeviceNo, RuleId, correlation_id
from services.domain.rules.evaluation import NOTHING, Clock, Event, Gathered, Item, Lag, Outcome, Reading, State, What
from services.domain.rules.rule import Mode

DEVICE_BYTES = 1_300
STATE_BYTES = 1_000
"""What a device with its dues and a state take in memory, about (python -m bench.rules)."""
_RINGS = 200_000
"""Clocks run by one tick; the rest is left to the next, so that no heap of dues can hold a turn for ever."""

OnFault = Callable[[RuleId, str, Exception], None]


class Engine:
    """Owns the state of one partition. Feed it the log in order; `take` what it decided and commit it as one.

    If the commit fails the engine has run ahead of the database: throw it away and build another from there.
    """

    def __init__(self, roster: Roster, opened: Iterable[OpenAlert] = (), on_fault: OnFault | None = None) -> None:
        self.roster = roster
        self.alerts = Alerts(opened, roster)
        self.gatherings = Gatherings(roster)
        self.gatherings.fill(self.alerts.open.values())
        self.evaluations = 0
        self.overtaken = 0
        self.aside = SetAside()
        self._aside_entries = self.aside.entries
        self.remembers = 0
        """States in memory."""
        self._on_fault = on_fault
        self._watched_places: dict[type, list[str]] = {}
        for key, place in roster.places.items():
            for sort, rules in place.rules.reads.items():
                if any(one.device_kind is PLATFORM for one in rules):
                    self._watched_places.setdefault(sort, []).append(key)
        self._changed: dict[tuple[RuleId, str], tuple[State, str]] = {}
        self._clocks = Clocks()
        self._liveness = Liveness(roster, self._clocks, self._step, self._wind)
        self.suspects, self.heard = self._liveness.suspects, self._liveness.heard

    def restore(self, states: Iterable[StateChange], seen: dict[DeviceNo, Seen]) -> None:
        """What the database remembers; every clock is set again. What a rule left that is gone, or that watched
        something else, is forgotten, and its alert ends."""
        put_back_seen(self.roster, seen)
        own: list[StateChange] = []
        for change in states:
            if change.rule_id == DRIFT:
                if not put_back_drift(self.roster, change):
                    self._changed[DRIFT, change.subject] = None, ""
                continue
            if is_reserved(change.rule_id):
                own.append(change)
                continue
            owner = self.roster.find(change.subject)
            rule = owner.rules.by_id.get(change.rule_id) if owner else None
            if owner is None or rule is None:
                self._changed[change.rule_id, change.subject] = None, ""
            elif change.shape and change.shape != rule.shape:
                self._forget(owner, rule, owner.facts.line.heard_ms, OTHER_WATCH)
            else:
                owner.remember(change.rule_id, change.state)
                self.remembers += 1
                self._wind(owner, rule)
        for subject in self.roster.devices.values():
            if subject.gateway is not None and subject.facts.seen_ms is not None:
                self._liveness.gateway_alive(subject.gateway, subject.facts.seen_ms)
        for subject in self.roster.subjects():
            for one in subject.rules.starts:
                if one.rule.id not in subject.states:
                    self._wind(subject, one)
        self.alerts.restore(own)

    def listen(self, since_ms: int, settle_ms: int) -> None:
        """Since when there is somebody to be heard by, and for how long at most that counts."""
        self.roster.line.since_ms, self.roster.line.settle_ms = since_ms, settle_ms

    def carry_over(self, former: Engine) -> None:
        """Takes over from the engine of an older registry: what it remembers, minus what no longer exists."""
        self.roster.line.heard_ms = former.roster.line.heard_ms
        self.listen(former.roster.line.since_ms, former.roster.line.settle_ms)
        self.aside.carry_over(former.aside, former.roster, self.roster)
        book = former.alerts.book
        self.alerts.book.now_ms, self.alerts.book.start = book.now_ms, book.start
        self.restore([*states_of(former.roster), *book.former()], seen_of(former.roster))

    def apply(self, item: Item) -> bool:
        """One item of the log. False: its device is not in the registry."""
        subject = self.roster.devices.get(item.device_no)
        if subject is None:
            return False
        sort = type(item)
        telemetry = sort is Reading
        if subject.soonest_ms <= item.received_ms:
            self._catch_up(subject, telemetry, item.received_ms)
        if isinstance(item, Reading):
            if item.ts_ms < subject.facts.made_ms:  # too late to mean anything now
                self.overtaken += 1
                self._liveness.alive(subject, item)
                return True
            subject.facts.made_ms = item.ts_ms
            if subject.drift is not None or item.received_ms - item.ts_ms > SLOW_MS:
                item = self._slow(subject, item)
        self._liveness.alive(subject, item)
        rules = subject.rules
        for one in rules.reads.get(sort, ()):
            if telemetry and one.rest is not None and one.rule.id not in subject.states:
                position, low, high, only_if_sent = one.rest
                value = item.values[position] if position < len(item.values) else None  # type: ignore[union-attr]
                if not only_if_sent if value is None else low < value < high:
                    # At rest, and this reading leaves it there: `step` would come to nothing.
                    self.evaluations += 1
                    continue
            if one.place is None:
                self._step(subject, one, item)
            elif (place := subject.places.get(one.place)) is not None:
                self._step_place(place, place.rules.by_id[one.rule.id], item, subject)
        for one in rules.reads_active.get(sort, ()):
            if one.rule.id in subject.states:
                self._step(subject, one, item)
        return True

    def _slow(self, subject: Subject, item: Reading) -> Reading:
        """A reading that took long, or seems to have: whether it is late, and what that says of the device's clock."""
        before = subject.drift
        subject.drift = drift = learn(before, item.ts_ms, item.received_ms)
        self._changed[DRIFT, subject.key] = None if drift is None else drift.as_state(), ""
        offset_ms = 0 if drift is None else drift.offset_ms
        if offset_ms and (before is None or not before.offset_ms):
            for one in subject.rules.reads.get(Clock, ()):
                self._step(subject, one, Clock(item.device_no, item.ts_ms, item.received_ms, -offset_ms))
        return judged_reading(subject, item)

    def feed(self, key: str, item: Item) -> bool:
        """An item about a place itself (`community:{id}`), not about a device in it. False: no rule watches it."""
        place = self.roster.places.get(key)
        if place is None:
            return False
        for one in place.rules.reads.get(type(item), ()):
            if one.device_kind is PLATFORM:
                self._step_place(place, one, item, place)
        return True

    def lagged(self, now_ms: int, delay_ms: int) -> None:
        """How long what was read just now had lain since it was received; 0 when the log is read to its end."""
        self.happened(Lag(NOBODY, now_ms, now_ms, max(0, delay_ms)))
        for key in self._watched_places.get(Lag, ()) if delay_ms > 0 else ():
            for one in self.roster.places[key].rules.reads[Lag]:
                self.alerts.book.overdue((one.family, key), now_ms)

    def happened(self, item: Item) -> None:
        """Something about the platform: it concerns every community of the partition."""
        for place in self._watched_places.get(type(item), ()):
            self.feed(place, item)

    def memory_bytes(self) -> int:
        """Estimate; what one device and one state take is measured by bench/rules.py."""
        return len(self.roster.devices) * DEVICE_BYTES + self.remembers * STATE_BYTES

    def _step_place(self, place: Subject, one: Compiled, item: Item, source: Subject) -> None:
        if place.soonest_ms <= item.received_ms:
            self._catch_up(place, isinstance(item, Reading), item.received_ms)
        self._step(place, one, item, source)

    def _catch_up(self, subject: Subject, telemetry: bool, until_ms: int) -> None:
        while (found := next_before(subject, telemetry, until_ms)) is not None:
            due_ms, one = found
            self._ring(subject, one, due_ms or until_ms)

    def _step(self, subject: Subject, one: Compiled, item: Item, source: Subject | None = None) -> None:
        if isinstance(item, Event):
            item = judged_event(source or subject, one, item)
        self.evaluations += 1
        aside = self._aside_entries
        if aside and self.aside.rests(one, subject, item.received_ms) is not None:
            return
        before = subject.states.get(one.rule.id)
        try:
            counts = None if one.gate is None else gate(one, source or subject, item)
            if one.gate is not None and counts is None:
                return
            standing = counts is False and self.alerts.stands(one, subject)
            if counts is False and not standing and one.kind.observes is None:
                outcome = NOTHING
            else:
                outcome = one.kind.step(one.rule.parameters, before, item, subject.facts, item.received_ms)
                if counts is False:
                    outcome = restrain(one, outcome, standing)
        except Exception as error:
            self._failed(subject, one, error, item.received_ms)
            return
        if aside:
            self.aside.worked(one, subject)
        if outcome.state is before and not outcome.signals and outcome.due_ms is None:
            return
        self._settle(subject, one, before, outcome, item.received_ms, item, source or subject)

    def tick(self, now_ms: int) -> None:
        """Runs every clock that is due, each at its own time. Call it only when the log has been read to its end."""
        self._clear_orphans(now_ms)
        for _ in range(_RINGS):
            ringing = self._clocks.take(now_ms)
            if ringing is None:
                break
            due_ms, subject, one = ringing
            if one.judged_late and subject.gateway is not None:
                self._gateway_first(subject.gateway, now_ms)
            self._ring(subject, one, now_ms if one.judged_late else due_ms or now_ms)
        self.alerts.book.advance(now_ms)

    def _gateway_first(self, gateway: Subject, now_ms: int) -> None:
        """Whether a gateway lives decides whether the devices behind it are to blame."""
        for one in gateway.rules.starts:
            if one.judged_late and gateway.dues.get(one.rule.id, NEVER) <= now_ms:
                self._ring(gateway, one, now_ms)

    def next_due(self) -> int | None:
        """When the next clock is due, epoch ms; AT_ONCE: as soon as anybody ticks."""
        dues = (self._clocks.soonest(), self.alerts.book.next_due())
        return min((due for due in dues if due is not None), default=None)

    def _ring(self, subject: Subject, one: Compiled, at_ms: int) -> None:
        self._clocks.stop(subject, one)
        if self._aside_entries and (until_ms := self.aside.rests(one, subject, at_ms)) is not None:
            self._clocks.set(subject, one, until_ms)
            return
        self.evaluations += 1
        before = subject.states.get(one.rule.id)
        try:
            outcome = one.kind.tick(one.rule.parameters, before, subject.facts, at_ms)
            if one.gate is not None and gate_at(one, subject, at_ms) is not True:
                outcome = restrain(one, outcome, self.alerts.stands(one, subject))
        except Exception as error:
            self._failed(subject, one, error, at_ms)
            return
        if outcome.due_ms is not None and outcome.due_ms <= at_ms:
            outcome = replace(outcome, due_ms=at_ms + 1000)
        self._settle(subject, one, before, outcome, at_ms, None, subject)

    def _failed(self, subject: Subject, one: Compiled, error: Exception, now_ms: int) -> None:
        """The rule is set aside for this subject. If it fails there again it starts from nothing."""
        if self.aside.failed(one, subject, now_ms) and one.rule.id in subject.states:
            self._forget(subject, one, now_ms, FAILED)
        until_ms = self.aside.rests(one, subject, now_ms)
        if until_ms is not None:
            self._clocks.set(subject, one, until_ms)
        if self._on_fault is not None:
            self._on_fault(one.rule.id, subject.key, error)

    def _forget(self, subject: Subject, one: Compiled, now_ms: int, reason: str) -> None:
        """The rule knows nothing of the subject any more, and holds no alert of it open."""
        self.remembers -= subject.states.pop(one.rule.id, None) is not None
        self._changed[one.rule.id, subject.key] = None, ""
        self._clocks.stop(subject, one)
        self.alerts.let_go(subject, one, now_ms, reason)
        self._gathered(self._moved(subject, one), subject, now_ms, now_ms)

    def _wind(self, subject: Subject, one: Compiled) -> None:
        """Sets a restored rule's clock. At time 0 nothing is due yet, so its tick only says when it will be:
        what was due in a certain order before a restart is due in that order after it."""
        before = subject.states.get(one.rule.id)
        try:
            outcome = one.kind.tick(one.rule.parameters, before, subject.facts, 0)
        except Exception as error:
            self._failed(subject, one, error, self.roster.line.heard_ms)
            return
        if outcome.state != before:
            # It would begin to watch: from the next tick on, but not a device that never spoke (see Liveness).
            if subject.device is None or subject.facts.seen_ms is not None:
                self._clocks.set(subject, one, AT_ONCE)
        elif outcome.due_ms is not None:
            self._clocks.set(subject, one, outcome.due_ms)

    def _settle(
        self,
        subject: Subject,
        one: Compiled,
        before: State,
        outcome: Outcome,
        now_ms: int,
        item: Item | None,
        source: Subject,
    ) -> None:
        rule_id, state = one.rule.id, outcome.state
        if state is not before and state != before:
            self._changed[rule_id, subject.key] = state, one.shape
            if state is None:
                del subject.states[rule_id]
                self.remembers -= 1
            else:
                self.remembers += before is None
                subject.remember(rule_id, state)
        if outcome.due_ms is not None:
            self._clocks.set(subject, one, outcome.due_ms)
        elif rule_id in subject.dues and not (state is None and one.kind.starts):
            self._clocks.stop(subject, one)
        if outcome.signals:
            at_ms = now_ms if item is None else item.ts_ms
            correlation = correlation_id(source.name, at_ms)  # type: ignore[arg-type]
            for signal in outcome.signals:
                if signal.what in (What.OFFLINE, What.ONLINE):
                    seen = presence(subject, signal.what is What.ONLINE, signal.ts_ms, correlation)
                    if seen is not None:
                        self.alerts.decisions.append(seen)
                else:
                    self.alerts.take_in(subject, one, signal, now_ms, correlation, item)
                    self._gathered(self._moved(subject, one), subject, signal.ts_ms, now_ms)

    def _moved(self, subject: Subject, one: Compiled) -> list[Move]:
        family = shadowed(one.family) if one.rule.mode is Mode.SHADOW else one.family
        return self.gatherings.moved(subject, one, self.alerts.open.get((family, subject.key)))

    def _gathered(self, moves: Iterable[Move], source: Subject, ts_ms: int, now_ms: int) -> None:
        """What an alert of a device means to the places it lies in, right after it was decided."""
        number = DeviceNo(0) if source.device is None else source.device.device_no
        for place, gathering, rises in moves:
            self._step_place(place, gathering, Gathered(number, ts_ms, now_ms, rises), source)

    def _clear_orphans(self, now_ms: int) -> None:
        """Alerts whose device was retired or whose rules are gone would stand for ever; nobody else can end them."""
        if self.alerts.checked:
            return
        self.alerts.checked = True
        self.alerts.drop_orphans(now_ms)
        # Places are asked once more as well: who is counted where may have changed with the registry or the rules.
        for place, gathering, rises in list(self.gatherings.all()):
            self._gathered([(place, gathering, rises)], place, now_ms, now_ms)

    def take(self) -> Decided:
        """What was decided since the last `take`, and which states changed."""
        decisions: tuple[Decision, ...] = tuple(self.alerts.decisions)
        changes = tuple(StateChange(*key, *left) for key, left in self._changed.items())
        self.alerts.decisions.clear()
        self._changed.clear()
        return Decided(decisions, changes + self.alerts.book.take())
