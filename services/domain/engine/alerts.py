"""From what single rules say to alerts: one open alert a family and subject, joined, worsened, recovered, cleared."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from services.domain.engine.decisions import (
    Clear,
    Decision,
    Ease,
    OpenAlert,
    Raise,
    Recover,
    Repeat,
    StateChange,
    shadowed,
)
from services.domain.engine.edits import NO_RULE
from services.domain.engine.hold.book import Book
from services.domain.engine.hold.capping import RULE as SUMMARY
from services.domain.engine.subjects import Compiled, Roster, Subject, building_key, device_key
from services.domain.engine.trigger import trigger_of
from services.domain.ids import AlertId, alert_id
from services.domain.rules.evaluation import Event, Item, Reading, Signal, What
from services.domain.rules.parameters import CorrelationParameters, EventParameters
from services.domain.rules.reasons import why
from services.domain.rules.rule import Mode, Rule
from services.domain.vocabulary import Label


class Alerts:
    """The open alerts of one partition, and the decisions made since they were last taken."""

    def __init__(self, opened: Iterable[OpenAlert], roster: Roster) -> None:
        self.open: dict[tuple[str, str], OpenAlert] = {alert.key: alert for alert in opened if alert.family != SUMMARY}
        self.decisions: list[Decision] = []
        self.book = Book(roster, self.decisions)
        self.checked = False
        """Whether alerts of vanished rules and devices were looked for."""

    def restore(self, states: Iterable[StateChange]) -> None:
        """What is remembered of holding back; call it once, also with nothing."""
        for change in states:
            self.book.restore(change, self.open)
        for alert in self.open.values():
            self.book.opened(alert)
        self.book.reconsider()

    def take_in(
        self, subject: Subject, one: Compiled, signal: Signal, now_ms: int, correlation: str, item: Item | None
    ) -> None:
        alert = self.open.get(_key(subject, one))
        if signal.what in (What.FIRE, What.REPEAT):
            if alert is None:
                self._raise(subject, one, signal, now_ms, correlation, item)
            else:
                self._repeat(alert, subject, one, signal, now_ms, correlation, item)
        elif alert is not None and one.rule.id in alert.active:
            if signal.what is What.RECOVER:
                if alert.active == [one.rule.id]:
                    alert.state = "recovering"
                    self.decisions.append(Recover(alert.id, alert.severity, signal.ts_ms, correlation))
            elif signal.what is What.CLEAR:
                alert.active.remove(one.rule.id)
                self.close(alert, signal.ts_ms, correlation, now_ms)
                if alert.active:
                    self._ease(alert, subject, one, signal.ts_ms, correlation)

    def stands(self, one: Compiled, subject: Subject) -> bool:
        """Whether this rule holds an alert on the subject open, on trial or not."""
        found = (self.open.get((one.family, subject.key)), self.open.get((shadowed(one.family), subject.key)))
        return any(alert is not None and one.rule.id in alert.active for alert in found)

    def close(
        self, alert: OpenAlert, at_ms: int, correlation: str, now_ms: int | None = None, reason: str = ""
    ) -> None:
        """Clears it if no rule holds it open any more; otherwise only notes which still do."""
        suppressed: tuple[str, ...] = ()
        if not alert.active:
            last = self.decisions[-1] if self.decisions else None
            if isinstance(last, Ease) and (last.id, last.at_ms, last.correlation) == (alert.id, at_ms, correlation):
                # One message ended all of it: it did not step down first.
                alert.severity = last.was
                self.decisions.pop()
            del self.open[alert.key]
            if not alert.shadow:
                suppressed = self.book.cleared(alert, at_ms if now_ms is None else now_ms)
        self.decisions.append(
            Clear(alert.id, alert.severity, at_ms, correlation, tuple(alert.active), suppressed, reason)
        )

    def let_go(self, subject: Subject, one: Compiled, now_ms: int, reason: str) -> None:
        """The rule no longer holds an alert of the subject open, whatever the device says."""
        for alert in (self.open.get((one.family, subject.key)), self.open.get((shadowed(one.family), subject.key))):
            if alert is not None and one.rule.id in alert.active:
                alert.active.remove(one.rule.id)
                self.close(alert, now_ms, alert.correlation, reason=reason)

    def drop_orphans(self, now_ms: int) -> None:
        """Ends alerts whose device or rules are gone, or whose rule went on trial or came off it: nobody else can."""
        for alert in list(self.open.values()):
            subject = self.book.roster.find(alert.subject)
            known = subject.rules.by_id if subject is not None else {}
            alert.active = [
                rule_id
                for rule_id in alert.active
                if rule_id in known
                and known[rule_id].family == alert.family
                and (known[rule_id].rule.mode is Mode.SHADOW) == alert.shadow
            ]
            if not alert.active:
                self.close(alert, now_ms, alert.correlation, reason=NO_RULE)
            elif subject is not None:
                self._regrade(alert, subject, now_ms)

    def _regrade(self, alert: OpenAlert, subject: Subject, now_ms: int) -> None:
        """To the severity that the rules which hold it have now: they may have been changed."""
        worst = max((subject.rules.by_id[rule_id] for rule_id in alert.active), key=lambda one: one.rule.severity.rank)
        severity = worst.rule.severity
        correlation = f"{subject.name}@{now_ms}"
        if severity.rank > alert.severity.rank:
            again = Signal(What.REPEAT, now_ms, alert.onset_ms)
            self._repeat(alert, subject, worst, again, now_ms, correlation, None)
        elif severity.rank < alert.severity.rank:
            why = Label(f"规则等级已下调，{subject.place}", f"The rule was made less severe, {subject.place}")
            self._step_down(alert, worst.rule, why, now_ms, correlation)

    def _ease(self, alert: OpenAlert, subject: Subject, over: Compiled, at_ms: int, correlation: str) -> None:
        """Down to the worst of what still holds."""
        still = [subject.rules.by_id[rule_id].rule for rule_id in alert.active if rule_id in subject.rules.by_id]
        worst = max(still, key=lambda rule: rule.severity.rank, default=None)
        if worst is None or worst.severity.rank >= alert.severity.rank:
            return
        ended = over.rule.title
        why = Label(
            f"“{ended.zh}”已解除，“{worst.title.zh}”仍在，{subject.place}",
            f"“{ended.en}” is over, “{worst.title.en}” still holds, {subject.place}",
        )
        self._step_down(alert, worst, why, at_ms, correlation)

    def _step_down(self, alert: OpenAlert, worst: Rule, why: Label, at_ms: int, correlation: str) -> None:
        was, alert.severity = alert.severity, worst.severity
        active = tuple(alert.active)
        self.decisions.append(
            Ease(alert.id, worst.id, worst.version, worst.severity, was, worst.title, why, at_ms, correlation, active)
        )
        self.book.eased(alert, worst.severity)

    def _raise(
        self, subject: Subject, one: Compiled, signal: Signal, now_ms: int, correlation: str, item: Item | None
    ) -> None:
        shadow = one.rule.mode is Mode.SHADOW
        # One on trial has an id of its own: should the rule go live, its alert of this very onset is another.
        named = f"~{one.rule.id}" if shadow else one.rule.id
        new_id = alert_id(named, subject.key, signal.onset_ms)  # type: ignore[arg-type]
        parts = one.kind.per_building and isinstance(one.rule.parameters, CorrelationParameters) and not shadow
        larger = None if parts or shadow else self._larger(subject, one)
        absorbs = self._parts(one, signal.data) if parts else ()
        draft = _draft(new_id, subject, one, signal, now_ms, correlation, item, larger, absorbs)
        raised = self.book.raised(draft, one.rule, subject, now_ms)
        opened = OpenAlert(
            new_id,
            one.family,
            subject.key,
            one.rule.severity,
            "firing",
            [one.rule.id],
            correlation,
            signal.onset_ms,
            one.rule.life_safety,
            shadow,
            raised.cause,
        )
        self.open[opened.key] = opened
        self.decisions.append(raised)
        if not shadow:
            self.book.asked(opened.key)

    def _larger(self, subject: Subject, one: Compiled) -> tuple[str, str] | None:
        """The open alert of the building that this device's event is a part of: one fire is one order."""
        parameters = one.rule.parameters
        if subject.building_id is None or not isinstance(parameters, EventParameters):
            return None
        for other in one.siblings:
            if isinstance(other.parameters, CorrelationParameters) and other.parameters.event == parameters.event:
                key = (other.family or other.id, building_key(subject.building_id))
                if key in self.open:
                    return key
        return None

    def _parts(self, one: Compiled, data: Any) -> tuple[tuple[str, str], ...]:
        """The open alerts of the single devices that make up a building's."""
        parameters = one.rule.parameters
        assert isinstance(parameters, CorrelationParameters)  # noqa: S101
        families = [
            other.family or other.id
            for other in one.siblings
            if isinstance(other.parameters, EventParameters) and other.parameters.event == parameters.event
        ]
        keys = [(family, device_key(number)) for family in families for number in data.get("devices", ())]
        return tuple(key for key in keys if key in self.open)

    def _repeat(
        self,
        alert: OpenAlert,
        subject: Subject,
        one: Compiled,
        signal: Signal,
        now_ms: int,
        correlation: str,
        item: Item | None,
    ) -> None:
        worse = one.rule.severity if one.rule.severity.rank > alert.severity.rank else None
        draft = _draft(alert.id, subject, one, signal, now_ms, correlation, item, self._larger(subject, one), ())
        same_message = correlation == alert.correlation and draft.cause == alert.cause
        if one.rule.id not in alert.active:
            alert.active.append(one.rule.id)
        alert.severity = worse or alert.severity
        alert.life_safety = alert.life_safety or one.rule.life_safety
        alert.state, alert.correlation, alert.cause = "firing", correlation, draft.cause
        counts = worse is not None or not same_message
        if alert.shadow:
            self.decisions.append(Repeat(replace(draft, shadow=True), tuple(alert.active), worse, counts))
            return
        held: tuple[str, ...] = ()
        if counts or alert.life_safety:
            safe = replace(draft, life_safety=alert.life_safety, severity=alert.severity)
            held = self.book.repeated(safe, one.rule, subject, worse, now_ms)
        self.decisions.append(Repeat(draft, tuple(alert.active), worse, counts, held))
        if held:
            self.book.look(alert.key)


def _key(subject: Subject, one: Compiled) -> tuple[str, str]:
    return shadowed(one.family) if one.rule.mode is Mode.SHADOW else one.family, subject.key


def _cause(item: Item | None) -> str:
    """Tells two messages of one device and time apart, and knows one that comes twice."""
    if isinstance(item, Event):
        return item.id or _digest([item.event, dict(item.data)])
    return _digest(list(item.values)) if isinstance(item, Reading) else ""


def _digest(content: Any) -> str:
    return blake2b(json.dumps(content, sort_keys=True, default=str).encode(), digest_size=8).hexdigest()


def _draft(
    id: AlertId,
    subject: Subject,
    one: Compiled,
    signal: Signal,
    now_ms: int,
    correlation: str,
    item: Item | None,
    joins: tuple[str, str] | None,
    absorbs: tuple[tuple[str, str], ...],
) -> Raise:
    rule, device = one.rule, subject.device
    return Raise(
        id=id,
        community_id=subject.community_id,
        rule_id=rule.id,
        rule_version=rule.version,
        family=one.family,
        subject=subject.key,
        device_no=device.device_no if device else None,
        device_id=device.id if device else None,
        building_id=subject.building_id,
        grid_id=subject.grid_id,
        kind=one.device_kind.name,
        severity=rule.severity,
        team=rule.team,
        life_safety=rule.life_safety,
        opens_order=rule.opens_order,
        title=rule.title,
        why=why(one.device_kind, rule.parameters, signal, subject.facts.interval_ms / 1000, subject.place),
        place=subject.place,
        x=subject.x,
        y=subject.y,
        onset_ms=signal.onset_ms,
        last_ms=signal.ts_ms,
        fired_ms=now_ms,
        trigger=trigger_of(one, signal, item),
        correlation=correlation,
        joins=joins,
        absorbs=absorbs,
        cause=_cause(item),
    )
