"""Who was heard when, who is taken for dead: what the offline rules look at, kept from every sign of life."""

from __future__ import annotations

from collections.abc import Callable

from services.domain.engine.clocks import Clocks
from services.domain.engine.decisions import Decision, Presence
from services.domain.engine.subjects import Compiled, Roster, Subject
from services.domain.ids import DeviceNo
from services.domain.rules.evaluation import Item, Status
from services.domain.rules.offline import revives
from services.domain.rules.parameters import OfflineParameters

Step = Callable[[Subject, Compiled, Item], None]
Wind = Callable[[Subject, Compiled], None]


class Liveness:
    """`step`: how the engine hands an item to one rule; a gateway's offline rule hears what comes through it.
    `wind`: how it sets a rule's clock from what is known."""

    def __init__(self, roster: Roster, clocks: Clocks, step: Step, wind: Wind) -> None:
        self._wind = wind
        self._roster = roster
        self._clocks = clocks
        self._step = step

    def alive(self, subject: Subject, item: Item) -> None:
        """A sign of life, of the device and of the gateway that carried it. A last will is none."""
        facts = subject.facts
        if isinstance(item, Status):
            if item.session >= facts.session and item.online:
                facts.session = item.session
            if not item.online:
                return
        first = facts.seen_ms is None
        if facts.seen_ms is None or item.received_ms > facts.seen_ms:
            facts.seen_ms = item.received_ms
        if first:
            self._begin(subject, item.received_ms)
        if item.received_ms > facts.line.heard_ms:
            facts.line.heard_ms = item.received_ms
        if not facts.online and not any(
            state is not None and "off" in state and not revives(state, item)
            for state in (subject.states.get(one.rule.id) for one in subject.rules.starts)
        ):
            facts.online, facts.online_since_ms = True, item.received_ms
        if subject.gateway is not None:
            self.gateway_alive(subject.gateway, item.received_ms)
            for one in subject.gateway.rules.starts:
                remembers = one.rule.id in subject.gateway.states
                if remembers and isinstance(one.rule.parameters, OfflineParameters):
                    self._step(subject.gateway, one, item)

    def _begin(self, subject: Subject, now_ms: int) -> None:
        """Heard for the first time: the clocks that watch it begin here."""
        for one in subject.rules.starts:
            if one.judged_late:
                self._wind(subject, one)
            elif one.rule.id not in subject.states:
                self._clocks.set(subject, one, now_ms)

    def gateway_alive(self, gateway: Subject, received_ms: int) -> None:
        first = gateway.facts.seen_ms is None
        gateway.facts.seen_ms = max(gateway.facts.seen_ms or 0, received_ms)
        if first:
            self._begin(gateway, received_ms)
        if not gateway.facts.online and not any(state and "off" in state for state in gateway.states.values()):
            gateway.facts.online, gateway.facts.online_since_ms = True, received_ms

    def suspects(self, now_ms: int) -> list[DeviceNo]:
        """Devices about to be taken for dead. The caller looks once more when they were last heard (`heard`)."""
        found: list[DeviceNo] = []
        for _, subject, one in self._clocks.due(now_ms):
            parameters, device = one.rule.parameters, subject.device
            if device is None or not isinstance(parameters, OfflineParameters):
                continue
            silent_ms = now_ms - (subject.facts.seen_ms or 0)
            patience_ms = 0 if one.rule.id in subject.states else parameters.missed * subject.facts.interval_ms
            if silent_ms > patience_ms:
                found.append(device.device_no)
                if subject.gateway is not None and subject.gateway.device is not None:
                    found.append(subject.gateway.device.device_no)
        return found

    def heard(self, device_no: DeviceNo, seen_ms: int) -> None:
        """Heard by the server at that time, even where the log has nothing of it (a heartbeat, a repeated status)."""
        subject = self._roster.devices.get(device_no)
        if subject is not None and seen_ms > (subject.facts.seen_ms or 0):
            subject.facts.seen_ms = seen_ms
            subject.facts.line.heard_ms = max(subject.facts.line.heard_ms, seen_ms)


def presence(subject: Subject, online: bool, at_ms: int, correlation: str) -> Decision | None:
    """The device is now taken to be there, or not."""
    device = subject.device
    if device is None:
        return None
    subject.facts.online = online
    if online:
        subject.facts.online_since_ms = at_ms
    return Presence(device.device_no, device.id, device.community_id, online, at_ms, correlation)
