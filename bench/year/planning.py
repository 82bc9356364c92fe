"""When each trouble and near miss of the year comes, and to whom: never two at once in one place."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

from bench.year.incident import DAY, HOUR, Incident
from bench.year.scripts import NEAR_MISSES, TROUBLES, Case
from bench.year.town import Town
from services.domain.engine.subjects import Compiled
from services.domain.ids import DeviceNo, RuleId
from services.domain.rules.parameters import (
    OfflineParameters,
    Parameters,
)
from services.domain.rules.rule import Mode


def plan_year(town: Town, from_ms: int, to_ms: int, each: int, seed: int) -> tuple[list[Incident], list[RuleId]]:
    """`each` troubles and as many near misses a rule, spread over the year and its devices; never two at once on one
    device or building. Second: rules that this simulation has no trouble for."""
    rng = random.Random(f"incidents|{seed}")
    rules = _rules(town)
    unprovoked = sorted(rule_id for rule_id, (one, _) in rules.items() if type(one.rule.parameters) not in TROUBLES)
    busy: dict[str, list[tuple[int, int]]] = {}
    planned: list[Incident] = []
    for rule_id in sorted(rules):
        one, numbers = rules[rule_id]
        parameters: Parameters = one.rule.parameters
        scripts = [TROUBLES[type(parameters)]] if type(parameters) in TROUBLES else []
        for script in [*scripts, *NEAR_MISSES.get(type(parameters), ())]:
            made = 0
            for _ in range(each * 12):
                if made == each:
                    break
                number = rng.choice(numbers)
                at_ms = from_ms + 3 * DAY + int(rng.random() * (to_ms - from_ms - 6 * DAY))
                incident = script(Case(town, number, one, at_ms, rng), parameters)
                if incident is not None and _free(town, busy, incident):
                    planned.append(incident)
                    made += 1
    return sorted(planned, key=lambda incident: incident.from_ms), unprovoked


def of_outages(town: Town, outages: Mapping[DeviceNo, list[tuple[int, int]]]) -> list[Incident]:
    """A gateway without a line is offline, even if nothing is lost; as long as it is away for longer than it may."""
    found = []
    for number, spans in outages.items():
        for one in town.subject(number).rules.by_id.values():
            if isinstance(one.rule.parameters, OfflineParameters):
                silent_ms = (one.rule.parameters.missed + 1) * town.rows[number].interval_s * 1000
                found += [
                    Incident(number, one.rule.id, one.family, False, True, start, end)
                    for start, end in spans
                    if end - start > silent_ms
                ]
    return found


def _rules(town: Town) -> dict[RuleId, tuple[Compiled, list[DeviceNo]]]:
    found: dict[RuleId, tuple[Compiled, list[DeviceNo]]] = {}
    for number in town.rows:
        for rule_id, one in town.subject(number).rules.by_id.items():
            if one.rule.mode is Mode.SHADOW:
                continue
            found.setdefault(rule_id, (one, []))[1].append(number)
    return found


def _free(town: Town, busy: dict[str, list[tuple[int, int]]], incident: Incident) -> bool:
    """Whether nothing else happens there for a day and a half before and after; then it is taken."""
    rows = town.rows
    places: list[str] = [f"device:{incident.device_no}", *(f"device:{n}" for n, _ in incident.others)]
    places += [f"device:{n}" for n in incident.silent_too]
    gateway = rows[incident.device_no].gateway_no
    if rows[incident.device_no].kind == "gateway":
        places += [f"device:{n}" for n, row in rows.items() if row.gateway_no == incident.device_no]
    elif gateway is not None:
        places.append(f"device:{gateway}")
    if rows[incident.device_no].kind == "smoke_detector":
        places.append(f"smoke:{rows[incident.device_no].building_id}")
    start, end = incident.from_ms - 36 * HOUR, incident.to_ms + 36 * HOUR
    if any(a < end and start < b for place in places for a, b in busy.get(place, ())):
        return False
    for place in places:
        busy.setdefault(place, []).append((incident.from_ms, incident.to_ms))
    return True


def of_device(incidents: list[Incident]) -> Iterator[tuple[DeviceNo, list[Incident]]]:
    """Each device's own, in order."""
    grouped: dict[DeviceNo, list[Incident]] = {}
    for incident in incidents:
        grouped.setdefault(incident.device_no, []).append(incident)
    yield from grouped.items()
