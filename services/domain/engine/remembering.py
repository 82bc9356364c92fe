"""What an engine knows of its subjects, as the database keeps it: taken out for the next engine, and put back."""

from __future__ import annotations

from collections.abc import Mapping

from services.domain.engine.decisions import StateChange
from services.domain.engine.device_clock import DRIFT, drift_of
from services.domain.engine.subjects import Roster, Seen
from services.domain.ids import DeviceNo


def seen_of(roster: Roster) -> dict[DeviceNo, Seen]:
    return {
        number: Seen(
            one.facts.seen_ms, one.facts.online, one.facts.online_since_ms, one.facts.session, one.facts.made_ms
        )
        for number, one in roster.devices.items()
    }


def states_of(roster: Roster) -> list[StateChange]:
    found: list[StateChange] = []
    for subject in roster.subjects():
        rules = subject.rules.by_id
        found += [StateChange(id, subject.key, state, rules[id].shape) for id, state in subject.states.items()]
        if subject.drift is not None:
            found.append(StateChange(DRIFT, subject.key, subject.drift.as_state()))
    return found


def put_back_seen(roster: Roster, seen: Mapping[DeviceNo, Seen]) -> None:
    """Devices that are gone are left out."""
    for device_no, known in seen.items():
        subject = roster.devices.get(device_no)
        if subject is None:
            continue
        facts = subject.facts
        facts.seen_ms, facts.online, facts.session = known.seen_ms, known.online, known.session
        facts.online_since_ms, facts.made_ms = known.online_since_ms, known.newest_ms
        facts.line.heard_ms = max(facts.line.heard_ms, known.seen_ms or 0)


def put_back_drift(roster: Roster, change: StateChange) -> bool:
    """False: it is of a device that is gone, or of none."""
    device = roster.find(change.subject)
    if device is None or change.state is None:
        return False
    device.drift = drift_of(change.state)
    return True
