"""From what single rules say to alerts: one open alert a family and subject, joined, worsened, recovered, cleared."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from services.domain.engine.decisions import Clear, Decision, OpenAlert, Raise, Recover, Repeat
from services.domain.engine.subjects import Compiled, Subject, building_key, device_key
from services.domain.ids import AlertId, alert_id
from services.domain.rules.evaluation import Event, Item, Reading, Signal, What
from services.domain.rules.parameters import (
    Compare,
    CorrelationParameters,
    EventParameters,
    NOfMParameters,
    OfflineParameters,
    Parameters,
    ThresholdParameters,
)
from services.domain.rules.reasons import is_health, why


class Alerts:
    """The open alerts of one partition, and the decisions made since they were last taken."""

    def __init__(self, opened: Iterable[OpenAlert]) -> None:
        self.open: dict[tuple[str, str], OpenAlert] = {(alert.family, alert.subject): alert for alert in opened}
        self.decisions: list[Decision] = []
        self.checked = False
        """Whether alerts of vanished rules and devices were looked for."""

    def take_in(
        self, subject: Subject, one: Compiled, signal: Signal, now_ms: int, correlation: str, item: Item | None
    ) -> None:
        alert = self.open.get((one.family, subject.key))
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
                self.close(alert, signal.ts_ms, correlation)

    def close(self, alert: OpenAlert, at_ms: int, correlation: str) -> None:
        """Clears it if no rule holds it open any more; otherwise only notes which still do."""
        self.decisions.append(Clear(alert.id, alert.severity, at_ms, correlation, tuple(alert.active)))
        if not alert.active:
            del self.open[alert.family, alert.subject]

    def _raise(
        self, subject: Subject, one: Compiled, signal: Signal, now_ms: int, correlation: str, item: Item | None
    ) -> None:
        new_id = alert_id(one.rule.id, subject.key, signal.onset_ms)
        raised = _draft(new_id, subject, one, signal, now_ms, correlation, item, self._larger(subject, one), ())
        if one.kind.per_building and isinstance(one.rule.parameters, CorrelationParameters):
            raised = _draft(
                new_id, subject, one, signal, now_ms, correlation, item, None, self._parts(one, signal.data)
            )
        self.open[one.family, subject.key] = OpenAlert(
            new_id,
            one.family,
            subject.key,
            one.rule.severity,
            "firing",
            [one.rule.id],
            correlation,
            signal.onset_ms,
        )
        self.decisions.append(raised)

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
        same_message = correlation == alert.correlation
        if one.rule.id not in alert.active:
            alert.active.append(one.rule.id)
        alert.severity = worse or alert.severity
        alert.state, alert.correlation = "firing", correlation
        draft = _draft(alert.id, subject, one, signal, now_ms, correlation, item, self._larger(subject, one), ())
        self.decisions.append(Repeat(draft, tuple(alert.active), worse, counts=worse is not None or not same_message))


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
        trigger=_trigger(one, signal, item),
        correlation=correlation,
        joins=joins,
        absorbs=absorbs,
    )


def _trigger(one: Compiled, signal: Signal, item: Item | None) -> dict[str, Any]:
    """What set it off: the rule, the device's own time, the value against the limit, all values of the reading."""
    parameters: Parameters = one.rule.parameters
    trigger: dict[str, Any] = {"rule": one.rule.id, "rule_version": one.rule.version, "ts_ms": signal.ts_ms}
    metric = getattr(parameters, "metric", None)
    if metric is not None:
        trigger["metric"] = metric
        trigger["limit"] = getattr(parameters, "limit", None)
        trigger["compare"] = getattr(parameters, "compare", Compare.AT_LEAST).value
        trigger["unit"] = next((known.unit for known in one.device_kind.metrics if known.name == metric), "")
    if isinstance(parameters, ThresholdParameters) and parameters.for_s:
        trigger["for_s"] = parameters.for_s
    if isinstance(parameters, NOfMParameters):
        trigger["n"], trigger["m"] = parameters.n, parameters.m
    if isinstance(parameters, OfflineParameters):
        trigger["missed"] = parameters.missed
    if signal.value is not None:
        trigger["value"] = signal.value
    if signal.data:
        trigger["data"] = dict(signal.data)
    if isinstance(item, Event):
        trigger["event"] = item.event
    if isinstance(item, Reading):
        private = is_health(one.device_kind, parameters)
        names = (known.name for known in one.device_kind.metrics if private or not known.health)
        trigger["values"] = {name: value for name in names if (value := item.value(name)) is not None}
    if is_health(one.device_kind, parameters):
        trigger["health"] = True
    return trigger
