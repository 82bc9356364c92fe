"""The alert engine's heart: a deterministic fold of the committed log into decisions. No IO, no clock."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count

from services.domain.engine.alerts import Alerts
from services.domain.engine.decisions import Decided, Decision, OpenAlert, Presence, StateChange
from services.domain.engine.hold.memory import is_reserved
from services.domain.engine.subjects import Compiled, Roster, Seen, Subject
from services.domain.ids import DeviceNo, RuleId, correlation_id
from services.domain.rules.evaluation import Event, Item, Outcome, Reading, State, Status, What
from services.domain.rules.parameters import OfflineParameters

LATE_MS = 10 * 60_000
"""Telemetry and ordinary events that took longer than this to arrive page nobody: the situation has moved on.

A device that reports seldom may take up to three of its intervals, the time after which it would count as offline."""
LATE_SAFETY_MS = 60 * 60_000
"""A call for help that waited out a network failure is still answered for an hour: its sender may be on the floor."""
LATE_INTERVALS = 3

OnFault = Callable[[RuleId, str, Exception], None]


class Engine:
    """Owns the state of one partition. Feed it the log in order; `take` what it decided and commit it as one.

    If the commit fails the engine has run ahead of the database: throw it away and build another from there.
    """

    def __init__(self, roster: Roster, opened: Iterable[OpenAlert] = (), on_fault: OnFault | None = None) -> None:
        self.roster = roster
        self.alerts = Alerts(opened, roster)
        self.evaluations = 0
        self.overtaken = 0
        self._on_fault = on_fault
        self._faulty: set[tuple[RuleId, str]] = set()
        self._changed: dict[tuple[RuleId, str], State] = {}
        self._heap: list[tuple[int, int, Subject, Compiled]] = []
        self._count = count()

    def restore(self, states: Iterable[StateChange], seen: dict[DeviceNo, Seen]) -> None:
        """What the database remembers; every clock is set again. Unknown rules are forgotten."""
        for device_no, known in seen.items():
            subject = self.roster.devices.get(device_no)
            if subject is None:
                continue
            facts = subject.facts
            facts.seen_ms, facts.online, facts.session = known.seen_ms, known.online, known.session
            facts.online_since_ms, subject.newest_ms = known.online_since_ms, known.newest_ms
            facts.line.heard_ms = max(facts.line.heard_ms, known.seen_ms or 0)
        for subject in self.roster.devices.values():
            if subject.gateway is not None and subject.facts.seen_ms is not None:
                self._heard_gateway(subject.gateway, subject.facts.seen_ms)
            for one in subject.rules.starts:
                self._wind(subject, one)
        own: list[StateChange] = []
        for change in states:
            if is_reserved(change.rule_id):
                own.append(change)
                continue
            owner = self.roster.find(change.subject)
            rule = owner.rules.by_id.get(change.rule_id) if owner else None
            if owner is None or rule is None:
                self._changed[change.rule_id, change.subject] = None
                continue
            owner.states[change.rule_id] = change.state
            self._wind(owner, rule)
        self.alerts.restore(own)

    def listen(self, since_ms: int, settle_ms: int) -> None:
        """Since when there is somebody to be heard by, and for how long at most that counts."""
        self.roster.line.since_ms, self.roster.line.settle_ms = since_ms, settle_ms

    def carry_over(self, former: Engine) -> None:
        """Takes over from the engine of an older registry: what it remembers, minus what no longer exists."""
        seen: dict[DeviceNo, Seen] = {}
        states: list[StateChange] = []
        for device_no, subject in former.roster.devices.items():
            facts = subject.facts
            seen[device_no] = Seen(facts.seen_ms, facts.online, facts.online_since_ms, facts.session, subject.newest_ms)
        for subject in [*former.roster.devices.values(), *former.roster.buildings.values()]:
            states += [StateChange(rule, subject.key, state) for rule, state in subject.states.items() if state]
        self.roster.line.heard_ms = former.roster.line.heard_ms
        self.listen(former.roster.line.since_ms, former.roster.line.settle_ms)
        self._faulty = former._faulty
        book = former.alerts.book
        self.alerts.book.now_ms, self.alerts.book.start = book.now_ms, book.start
        self.restore([*states, *book.former()], seen)

    def apply(self, item: Item) -> bool:
        """One item of the log. False: its device is not in the registry."""
        subject = self.roster.devices.get(item.device_no)
        if subject is None:
            return False
        if isinstance(item, Reading):
            if item.ts_ms < subject.newest_ms:
                self.overtaken += 1
                self._alive(subject, item)
                return True
            subject.newest_ms = item.ts_ms
            late_ms = max(LATE_MS, LATE_INTERVALS * subject.facts.interval_ms)
            item = replace(item, late=True) if item.received_ms - item.ts_ms > late_ms else item
        self._alive(subject, item)
        rules = subject.rules
        for one in rules.reads.get(type(item), ()):
            if one.kind.per_building:
                self._step_building(subject, one, item)
            else:
                self._step(subject, one, item)
        for one in rules.reads_active.get(type(item), ()):
            if one.rule.id in subject.states:
                self._step(subject, one, item)
        return True

    def _alive(self, subject: Subject, item: Item) -> None:
        """A sign of life, of the device and of the gateway that carried it. A last will is none."""
        facts = subject.facts
        if isinstance(item, Status):
            if item.session >= facts.session and item.online:
                facts.session = item.session
            if not item.online:
                return
        if facts.seen_ms is None:
            for one in subject.rules.starts:
                self._schedule(subject, one, 0)
        facts.seen_ms = max(facts.seen_ms or 0, item.received_ms)
        facts.line.heard_ms = max(facts.line.heard_ms, item.received_ms)
        if not facts.online and not any(
            state is not None and "off" in state and item.received_ms <= state["off"]
            for state in (subject.states.get(one.rule.id) for one in subject.rules.starts)
        ):
            facts.online, facts.online_since_ms = True, item.received_ms
        if subject.gateway is not None:
            self._heard_gateway(subject.gateway, item.received_ms)
            for one in subject.gateway.rules.starts:
                remembers = one.rule.id in subject.gateway.states
                if remembers and isinstance(one.rule.parameters, OfflineParameters):
                    self._step(subject.gateway, one, item)

    def _heard_gateway(self, gateway: Subject, received_ms: int) -> None:
        gateway.facts.seen_ms = max(gateway.facts.seen_ms or 0, received_ms)
        if not gateway.facts.online and not any(state and "off" in state for state in gateway.states.values()):
            gateway.facts.online, gateway.facts.online_since_ms = True, received_ms

    def _step_building(self, device: Subject, one: Compiled, item: Item) -> None:
        building = self.roster.buildings.get(f"building:{device.building_id}") if device.building_id else None
        if building is not None:
            self._step(building, one, item, device)

    def _step(self, subject: Subject, one: Compiled, item: Item, device: Subject | None = None) -> None:
        if isinstance(item, Event):
            late_ms = LATE_SAFETY_MS if one.rule.life_safety else LATE_MS
            if item.received_ms - item.ts_ms > late_ms:
                item = replace(item, late=True)
        self.evaluations += 1
        rule_id = one.rule.id
        before = subject.states.get(rule_id)
        if self._faulty and (rule_id, subject.key) in self._faulty:
            return
        try:
            outcome = one.kind.step(one.rule.parameters, before, item, subject.facts, item.received_ms)
        except Exception as error:
            self._fault(one, subject, error)
            return
        if outcome.state is before and not outcome.signals and outcome.due_ms is None:
            return
        at_device = device or subject
        self._settle(subject, one, before, outcome, item.received_ms, correlation_id(at_device.name, item.ts_ms), item)  # type: ignore[arg-type]

    def tick(self, now_ms: int) -> None:
        """Runs every clock that is due. Call it only when the log has been read to its end."""
        self._clear_orphans(now_ms)
        due = self._pop_due(now_ms)
        # A gateway before the devices behind it: whether it lives decides whether they are to blame.
        for due_ms, _, subject, one in sorted(due, key=lambda entry: (entry[2].gateway is not None, entry[:2])):
            if subject.dues.get(one.rule.id) == due_ms and (one.rule.id, subject.key) not in self._faulty:
                del subject.dues[one.rule.id]
                self._tick_one(subject, one, now_ms)
        self.alerts.book.advance(now_ms)

    def next_due(self) -> int | None:
        """When the next clock is due, epoch ms; the tick of a moment that has passed may find nothing to do."""
        dues = [
            due for due in (self._heap[0][0] if self._heap else None, self.alerts.book.next_due()) if due is not None
        ]
        return min(dues, default=None)

    def _pop_due(self, now_ms: int) -> list[tuple[int, int, Subject, Compiled]]:
        due: list[tuple[int, int, Subject, Compiled]] = []
        while self._heap and self._heap[0][0] <= now_ms:
            due.append(heapq.heappop(self._heap))
        return due

    def _tick_one(self, subject: Subject, one: Compiled, now_ms: int) -> None:
        self.evaluations += 1
        before = subject.states.get(one.rule.id)
        try:
            outcome = one.kind.tick(one.rule.parameters, before, subject.facts, now_ms)
        except Exception as error:
            self._fault(one, subject, error)
            return
        if outcome.due_ms is not None and outcome.due_ms <= now_ms:
            outcome = replace(outcome, due_ms=now_ms + 1000)
        self._settle(subject, one, before, outcome, now_ms, f"{subject.name}@{subject.facts.seen_ms or now_ms}", None)

    def suspects(self, now_ms: int) -> list[DeviceNo]:
        """Devices about to be taken for dead. The caller looks once more when they were last heard (`heard`)."""
        found: list[DeviceNo] = []
        for entry in self._pop_due(now_ms):
            heapq.heappush(self._heap, entry)
            due_ms, _, subject, one = entry
            parameters, device = one.rule.parameters, subject.device
            if device is None or not isinstance(parameters, OfflineParameters):
                continue
            silent_ms = now_ms - (subject.facts.seen_ms or 0)
            patience_ms = 0 if one.rule.id in subject.states else parameters.missed * subject.facts.interval_ms
            if subject.dues.get(one.rule.id) == due_ms and silent_ms > patience_ms:
                found.append(device.device_no)
                if subject.gateway is not None and subject.gateway.device is not None:
                    found.append(subject.gateway.device.device_no)
        return found

    def heard(self, device_no: DeviceNo, seen_ms: int) -> None:
        """Heard by the server at that time, even where the log has nothing of it (a heartbeat, a repeated status)."""
        subject = self.roster.devices.get(device_no)
        if subject is not None and seen_ms > (subject.facts.seen_ms or 0):
            subject.facts.seen_ms = seen_ms
            subject.facts.line.heard_ms = max(subject.facts.line.heard_ms, seen_ms)

    def _fault(self, one: Compiled, subject: Subject, error: Exception) -> None:
        """A rule that fails on one subject is set aside for that subject; every other goes on."""
        self._faulty.add((one.rule.id, subject.key))
        if self._on_fault is not None:
            self._on_fault(one.rule.id, subject.key, error)

    def _wind(self, subject: Subject, one: Compiled) -> None:
        """Sets a restored rule's clock. At time 0 nothing is due yet, so its tick only says when it will be:
        what was due in a certain order before a restart is due in that order after it."""
        try:
            due_ms = one.kind.tick(one.rule.parameters, subject.states.get(one.rule.id), subject.facts, 0).due_ms
        except Exception as error:
            self._fault(one, subject, error)
            return
        self._schedule(subject, one, due_ms or 0)

    def _schedule(self, subject: Subject, one: Compiled, due_ms: int) -> None:
        if subject.dues.get(one.rule.id) != due_ms:
            subject.dues[one.rule.id] = due_ms
            heapq.heappush(self._heap, (due_ms, next(self._count), subject, one))

    def _settle(
        self,
        subject: Subject,
        one: Compiled,
        before: State,
        outcome: Outcome,
        now_ms: int,
        correlation: str,
        item: Item | None,
    ) -> None:
        rule_id = one.rule.id
        if outcome.state != before:
            self._changed[rule_id, subject.key] = outcome.state
            if outcome.state is None:
                subject.states.pop(rule_id, None)
            else:
                subject.states[rule_id] = outcome.state
        if outcome.due_ms is not None:
            self._schedule(subject, one, outcome.due_ms)
        elif rule_id in subject.dues and not (outcome.state is None and one.kind.starts):
            del subject.dues[rule_id]
        for signal in outcome.signals:
            if signal.what in (What.OFFLINE, What.ONLINE):
                self._presence(subject, signal.what is What.ONLINE, signal.ts_ms, correlation)
            else:
                self.alerts.take_in(subject, one, signal, now_ms, correlation, item)

    def _presence(self, subject: Subject, online: bool, at_ms: int, correlation: str) -> None:
        device = subject.device
        if device is None:
            return
        subject.facts.online = online
        if online:
            subject.facts.online_since_ms = at_ms
        self.alerts.decisions.append(
            Presence(device.device_no, device.id, device.community_id, online, at_ms, correlation)
        )

    def _clear_orphans(self, now_ms: int) -> None:
        """Alerts whose device was retired or whose rules are gone would stand for ever; nobody else can end them."""
        if self.alerts.checked:
            return
        self.alerts.checked = True
        self.alerts.drop_orphans(now_ms)

    def take(self) -> Decided:
        """What was decided since the last `take`, and which states changed."""
        decisions: tuple[Decision, ...] = tuple(self.alerts.decisions)
        changes = tuple(StateChange(rule_id, key, state) for (rule_id, key), state in self._changed.items())
        self.alerts.decisions.clear()
        self._changed.clear()
        return Decided(decisions, changes + self.alerts.book.take())
