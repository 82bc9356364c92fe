"""The book of what is held back: judges each alert as it rises, looks again when a reason may be gone, releases."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any
from uuid import UUID

from services.domain.engine.decisions import Answered, Asked, Decision, Hold, Raise, Release, StateChange
from services.domain.engine.hold import flapping
from services.domain.engine.hold.asking import Asking
from services.domain.engine.hold.capping import Capping
from services.domain.engine.hold.grouping import Groups, group_key
from services.domain.engine.hold.inhibition import PREFIX, Roots, grace_ms
from services.domain.engine.hold.memory import CAPS, FLAPPING, HELD, Memory, joined
from services.domain.engine.hold.places import household_of
from services.domain.engine.hold.reasons import SORTS, sort_of
from services.domain.engine.hold.record import Held, held_json, held_of
from services.domain.engine.hold.settling import REASON as SETTLING
from services.domain.engine.hold.settling import Start
from services.domain.engine.subjects import Roster, Subject
from services.domain.rules.rule import Mode, Rule
from services.domain.vocabulary import Severity

if TYPE_CHECKING:
    from services.domain.engine.decisions import OpenAlert

Key = tuple[str, str]


class Book:
    """Holds no life-safety alert, ever. Its clock is that of the items and ticks it is shown, and never runs back."""

    def __init__(self, roster: Roster, decisions: list[Decision]) -> None:
        self.roster = roster
        self.held: dict[Key, Held] = {}
        self.now_ms = 0
        self.start = Start()
        self._decisions = decisions
        self._memory = Memory()
        self._roots = Roots()
        self._groups = Groups()
        self._capping = Capping(roster, decisions, self._memory)
        self._by_id: dict[UUID, Key] = {}
        self._heap: list[tuple[int, int, Key]] = []
        self._count = count()
        self._recheck = False
        self._asking_ended = True
        self._capping.attach(self._push)

    # what the engine tells

    def raised(self, draft: Raise, rule: Rule, subject: Subject, now_ms: int) -> Raise:
        """The alert with what becomes of it. Call before it is written down; what it asks comes after it (`asked`)."""
        self.advance(now_ms)
        if rule.mode is Mode.SHADOW:
            return replace(draft, shadow=True)
        draft = replace(draft, group_key=group_key(rule, draft.family, subject))
        draft = replace(draft, grouped=self._groups.other_sent(draft.group_key, draft.id))
        if draft.life_safety:
            self._sent(draft, rule, subject)
            return draft
        held = Held(draft, (), self.now_ms, settles_ms=self.start.until(self.now_ms))
        if self._flaps(held):
            held.calms_ms = self.now_ms + flapping.CALM_MS
        if rule.ask is not None and household_of(subject) is not None:
            held.asking = Asking(round(rule.ask.wait_s * 1000))
        held.reasons = self._reasons(held, subject)
        if not held.reasons:
            self._sent(held.draft, rule, subject)
            return held.draft
        self._roots_of(draft.id, [rule], subject, held.reasons)
        self._keep(held)
        return replace(held.draft, held=held.reasons)

    def repeated(
        self, draft: Raise, rule: Rule, subject: Subject, worse: Severity | None, now_ms: int
    ) -> tuple[str, ...]:
        """Why this occurrence sends nobody. What it releases is to be called for afterwards (`look`)."""
        self.advance(now_ms)
        held = self.held.get((draft.family, draft.subject))
        if held is not None:
            if worse is not None or draft.life_safety:
                held.draft = replace(draft, group_key=held.draft.group_key, absorbs=held.draft.absorbs)
                if rule.ask is None:
                    held.asking = None
                elif held.asking is not None and held.asking.well:
                    held.asking = Asking(round(rule.ask.wait_s * 1000))
            self._save(held)
            self._schedule(held, self.now_ms)
            return held.reasons
        if draft.life_safety:
            return ()
        again = Held(replace(draft, group_key=group_key(rule, draft.family, subject)), (), self.now_ms, sent=True)
        again.reasons = self._reasons(again, subject)
        if again.reasons:
            self._keep(again)
        return again.reasons

    def eased(self, alert: OpenAlert, severity: Severity) -> None:
        held = self.held.get(alert.key)
        if held is not None:
            held.draft = replace(held.draft, severity=severity)
            self._save(held)

    def cleared(self, alert: OpenAlert, now_ms: int) -> tuple[str, ...]:
        """Why it never sent anybody; empty where it did."""
        self.advance(now_ms)
        held = self.held.pop(alert.key, None)
        if held is not None:
            self._by_id.pop(alert.id, None)
            self._asking_ended = self._asking_ended or _is_asking(held)
            self._memory.put(HELD, joined(alert.key), None)
            self._capping.no_longer(held, self.now_ms)
        known = self._memory.get(FLAPPING, joined(alert.key))
        if known is not None:
            self._remember_flapping(alert.key, flapping.cleared(known, self.now_ms))
        self._groups.gone(alert.id)
        if self._roots.remove(alert.id):
            self._root_over(alert.id)
        return held.reasons if held is not None and not held.sent else ()

    def answer(self, alert_id: UUID, number: int, ok: bool, by: str, now_ms: int) -> None:
        """What somebody at home said. An answer to what is not asked any more is written down and changes nothing."""
        self.advance(now_ms)
        key = self._by_id.get(alert_id)
        held = self.held[key] if key is not None else None
        severity = held.draft.severity if held is not None else Severity.INFO
        correlation = held.draft.correlation if held is not None else ""
        self._decisions.append(Answered(alert_id, number, ok, by, self.now_ms, severity, correlation))  # type: ignore[arg-type]
        if held is not None and held.asking is not None:
            held.asking.answer(ok, self.now_ms)
            self._look(held)

    def advance(self, now_ms: int) -> None:
        """Looks again at everything that is due by now, each at its own time, the gravest first."""
        while self._heap and self._heap[0][0] <= now_ms:
            self._run(self._heap[0][0])
        self.now_ms = max(self.now_ms, now_ms)
        if self._recheck:
            self._recheck = False
            for held in self._gravest_first(self.held.values()):
                self._look(held)

    def overdue(self, key: Key, now_ms: int) -> None:
        """Of the alert that the log is not read up to now: nobody ticks while it stands, so it is asked for itself."""
        held = self.held.get(key)
        if held is not None and held.due_ms is not None and held.due_ms <= now_ms:
            self.advance(now_ms)

    def next_due(self) -> int | None:
        """When to look again, epoch ms."""
        return self._heap[0][0] if self._heap else None

    def wants_answers(self) -> bool:
        """Whether an answer may have come since this was last asked: somebody is being asked, or just was."""
        ended, self._asking_ended = self._asking_ended, False
        return ended or any(_is_asking(held) for held in self.held.values())

    def counts(self) -> dict[str, int]:
        """How many are held, by the sort of reason."""
        found = dict.fromkeys(SORTS, 0)
        for held in self.held.values():
            for sort in set(map(sort_of, held.reasons)):
                found[sort] += 1
        return found

    # across restarts

    def restore(self, change: StateChange, opened: Mapping[Key, OpenAlert]) -> None:
        """One remembered state under a reserved id. Of an alert that is not open any more nothing is kept."""
        state = change.state
        if change.rule_id == HELD and state is not None:
            held = held_of(state)
            alert = opened.get(held.key)
            if alert is None or alert.id != held.draft.id:
                self._memory.put(HELD, change.subject, None)
                return
            self._memory.set(HELD, change.subject, state)
            self.held[held.key], self._by_id[held.draft.id] = held, held.key
            self._schedule(held, held.due_ms)
            self._capping.again(held)
        else:
            self._memory.set(change.rule_id, change.subject, state)
            if change.rule_id == FLAPPING and state is not None:
                self._push(flapping.forget_at(state), (FLAPPING, change.subject))
            elif change.rule_id == CAPS:
                self._capping.restored(change.subject)

    def reconsider(self) -> None:
        """Silences, caps and the registry may be others now: looks at everything again, as of now. After a start that
        is the time of the first item or tick."""
        self._recheck = not self.now_ms
        for held in self.held.values() if self.now_ms else ():
            self._schedule(held, self.now_ms)

    def opened(self, alert: OpenAlert) -> None:
        """An alert that is open at the start: a root cause, or one of a group. Call when all states are restored."""
        subject = self.roster.find(alert.subject)
        if subject is None or alert.shadow:
            return
        rules = [subject.rules.by_id[rule_id].rule for rule_id in alert.active if rule_id in subject.rules.by_id]
        held = self.held.get(alert.key)
        self._roots_of(alert.id, rules, subject, held.reasons if held else ())
        if held is None or held.sent:
            for rule in rules:
                self._groups.sent(group_key(rule, alert.family, subject), alert.id)

    def former(self) -> list[StateChange]:
        """Everything remembered, for the book that takes over."""
        return self._memory.all()

    def take(self) -> tuple[StateChange, ...]:
        return self._memory.take()

    # how it judges

    def _reasons(self, held: Held, subject: Subject) -> tuple[str, ...]:
        """Why it is held at this moment, and when to look again. Caps come last: what waits for another reason takes
        up no room, and nobody is asked at home while nobody would be sent anyway."""
        draft, now = held.draft, self.now_ms
        dues: list[int] = []
        reasons = [*self._silenced(draft, subject, dues), *self._inhibited(held, subject, dues)]
        if held.calms_ms is not None:
            if now < held.calms_ms:
                reasons.append("flapping")
                dues.append(held.calms_ms)
            else:
                held.calms_ms = None
                self._stood(held)
        if held.settles_ms is not None:
            if now < held.settles_ms:
                reasons.append(SETTLING)
                dues.append(held.settles_ms)
            else:
                held.settles_ms = None
        if not reasons and held.asking is not None:
            if held.asking.until_ms is None:
                held.asking.begin(now)
            waits = held.asking.reason(now)
            if waits is not None:
                reasons.append(waits[0])
                dues += [waits[1]] if waits[1] is not None else []
        if not reasons and not held.sent:
            held.draft = draft = replace(draft, grouped=self._groups.other_sent(draft.group_key, draft.id))
            if draft.opens:
                reasons += self._capping.room(draft, now, dues)
        held.due_ms = min(dues, default=None)
        return tuple(reasons)

    def _silenced(self, draft: Raise, subject: Subject, dues: list[int]) -> Iterable[str]:
        for silence in self.roster.holding.silences.get(draft.community_id, ()):
            until = silence.until(self.now_ms)
            if until is not None and silence.matcher.matches(draft, household_of(subject)):
                dues.append(until)
                yield silence.reason

    def _inhibited(self, held: Held, subject: Subject, dues: list[int]) -> Iterable[str]:
        roots = list(self._roots.above(held.draft.id, held.draft.family, subject, self._is_cause))
        yield from sorted(f"{PREFIX}{root}" for root in roots)
        held.grace = {root: until for root, until in held.grace.items() if self.now_ms < until}
        for root, until in sorted(held.grace.items()):
            dues.append(until)
            if UUID(root) not in roots:
                yield f"{PREFIX}{root}"

    def _is_cause(self, root: UUID) -> bool:
        """A consequence of something else mutes nothing: two that mute each other would both be lost."""
        key = self._by_id.get(root)
        return key is None or not any(reason.startswith(PREFIX) for reason in self.held[key].reasons)

    def _flaps(self, held: Held) -> bool:
        key = joined(held.key)
        state = flapping.opened(self._memory.get(FLAPPING, key), self.now_ms)
        self._remember_flapping(held.key, state)
        return bool(state["flaps"])

    def _stood(self, held: Held) -> None:
        state = self._memory.get(FLAPPING, joined(held.key))
        if state is not None:
            self._remember_flapping(held.key, flapping.stood(state))

    def _remember_flapping(self, key: Key, state: dict[str, Any]) -> None:
        self._memory.put(FLAPPING, joined(key), state)
        self._push(flapping.forget_at(state), (FLAPPING, joined(key)))

    # how it moves

    def look(self, key: Key) -> None:
        """Judges again what is held under this key."""
        if key in self.held:
            self._look(self.held[key])

    def _look(self, held: Held) -> None:
        subject = self.roster.find(held.draft.subject)
        before = held.remembered
        was, asked = held.reasons, held.asking is not None and held.asking.until_ms is not None
        safe = held.draft.life_safety or subject is None
        held.reasons = () if safe or subject is None else self._reasons(held, subject)
        if not held.reasons:
            self._release(held, was, subject)
            return
        if held.remembered != before:
            # Of thousands that wait for room only those that change are written; a due that is old is looked at again.
            self._save(held)
        self._schedule(held, held.due_ms)
        if held.reasons != was:
            draft = held.draft
            self._decisions.append(Hold(draft.id, held.reasons, self.now_ms, draft.severity, draft.correlation))
            self._capping.changed(held, self.now_ms)
            self._causes_changed(held, was, subject)
        if not asked:
            self.asked(held.key)

    def asked(self, key: Key) -> None:
        """Says that people at home are asked, where that has just begun."""
        held = self.held.get(key)
        if held is None or held.asking is None or held.asking.until_ms is None or held.asking.well:
            return
        subject = self.roster.find(held.draft.subject)
        household = household_of(subject) if subject is not None else None
        if household is not None:
            self._decisions.append(Asked(held.draft, household, held.asking.until_ms))

    def _release(self, held: Held, was: tuple[str, ...], subject: Subject | None) -> None:
        del self.held[held.key]
        self._by_id.pop(held.draft.id, None)
        self._asking_ended = self._asking_ended or _is_asking(held)
        self._memory.put(HELD, joined(held.key), None)
        self._decisions.append(Release(held.draft, was, self.now_ms))
        self._groups.sent(held.draft.group_key, held.draft.id)
        self._capping.no_longer(held, self.now_ms)
        if subject is not None:
            self._causes_changed(held, was, subject)

    def _causes_changed(self, held: Held, was: tuple[str, ...], subject: Subject | None) -> None:
        """What was a consequence is a cause now: it mutes others from here on."""
        if subject is not None and any(reason.startswith(PREFIX) for reason in was):
            self._mute_others(held.draft.id)

    def _sent(self, draft: Raise, rule: Rule, subject: Subject) -> None:
        self._groups.sent(draft.group_key, draft.id)
        self._roots_of(draft.id, [rule], subject, ())

    def _roots_of(self, alert_id: UUID, rules: Iterable[Rule], subject: Subject, reasons: tuple[str, ...]) -> None:
        found = [self._roots.add(alert_id, rule, subject) for rule in rules if rule.mutes]
        if any(found) and not any(reason.startswith(PREFIX) for reason in reasons):
            self._mute_others(alert_id)

    def _mute_others(self, root: UUID) -> None:
        """Whoever is held for something else anyway may be a consequence of the new cause."""
        if self.held:
            for held in list(self.held.values()):
                if held.draft.id != root:
                    self._schedule(held, self.now_ms)

    def _root_over(self, root: UUID) -> None:
        reason = f"{PREFIX}{root}"
        for held in self.held.values():
            if reason in held.reasons:
                subject = self.roster.find(held.draft.subject)
                held.grace[str(root)] = self.now_ms + grace_ms(subject.facts.interval_ms if subject else 0)
                due = held.grace[str(root)]
                held.due_ms = due if held.due_ms is None else min(due, held.due_ms)
                self._save(held)
                self._schedule(held, held.due_ms)

    def _keep(self, held: Held) -> None:
        self.held[held.key], self._by_id[held.draft.id] = held, held.key
        self._save(held)
        self._schedule(held, held.due_ms)
        self._capping.changed(held, self.now_ms)

    def _save(self, held: Held) -> None:
        self._memory.put(HELD, joined(held.key), held_json(held))

    def _schedule(self, held: Held, due_ms: int | None) -> None:
        if due_ms is not None:
            self._push(due_ms, held.key)

    def _push(self, due_ms: int, key: Key) -> None:
        heapq.heappush(self._heap, (due_ms, next(self._count), key))

    def _run(self, due_ms: int) -> None:
        keys: dict[Key, None] = {}
        while self._heap and self._heap[0][0] == due_ms:
            keys[heapq.heappop(self._heap)[2]] = None
        self.now_ms = max(self.now_ms, due_ms)
        waiting = [self.held[key] for key in keys if key in self.held]
        for held in self._gravest_first(waiting):
            if self.held.get(held.key) is held:
                self._look(held)
        for name, key in keys:
            if name == FLAPPING:
                state = self._memory.get(FLAPPING, key)
                if state is not None and flapping.forget_at(state) <= self.now_ms:
                    self._memory.put(FLAPPING, key, None)
            elif name == CAPS:
                self._capping.run(key, self.now_ms)

    @staticmethod
    def _gravest_first(waiting: Iterable[Held]) -> list[Held]:
        return sorted(waiting, key=lambda held: (-held.draft.severity.rank, held.since_ms, held.key))


def _is_asking(held: Held) -> bool:
    return held.asking is not None and held.asking.until_ms is not None
