"""Rules as the engine runs them: beside their behaviour, sorted by what can set them off, gravest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from services.domain.devices.kind import DeviceKind
from services.domain.engine.edits import shape_of
from services.domain.engine.gate import Gate, compile_gate
from services.domain.engine.quiet import Quiet, compile_quiet
from services.domain.ids import RuleId
from services.domain.rules import BY_PARAMETERS
from services.domain.rules.evaluation import Reading, RuleKind
from services.domain.rules.parameters import OfflineParameters
from services.domain.rules.rule import Rule

NEVER = 1 << 62
"""A due that never comes, epoch ms."""


_NOWHERE = 1 << 30
"""Position of a metric that the kind does not have."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A rule beside its behaviour and the kind of device it watches."""

    rule: Rule
    kind: RuleKind[Any]
    device_kind: DeviceKind
    family: str
    siblings: tuple[Rule, ...] = ()
    """All rules of its kind of device where it stands."""
    order: int = 0
    """Its place among the rules of its subject, the gravest first: which of two clocks of one moment runs first."""
    place: str | None = None
    """Sort of place it is about (building …), where it is not about the device itself."""
    telemetry: bool = False
    """Whether it reads readings, which may lie behind events in the log."""
    shape: str = ""
    """What it watches; a memory of another shape is not its own."""
    gate: Gate | None = None
    """When it counts; None: always."""
    rest: tuple[int, float, float, bool] | None = None
    """(position, low, high, only if sent) of the values at which it stays at rest; None: it sees every reading."""
    judged_late: bool = False
    """About what did not come: its clock runs by `tick` alone, at the tick's time."""


def metric_positions(kind: DeviceKind) -> dict[str, int]:
    return {metric.name: position for position, metric in enumerate(kind.metrics)}


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules that apply to one sort of device, sorted by what can set them off, so that the others cost nothing."""

    by_id: Mapping[RuleId, Compiled]
    reads: Mapping[type, tuple[Compiled, ...]]
    reads_active: Mapping[type, tuple[Compiled, ...]]
    starts: tuple[Compiled, ...]
    quiet: Quiet | None = None
    """When a reading sets off none of them."""


def place_of(rule: Rule) -> str | None:
    """gateway | building | grid | community; None: the rule is about the device itself."""
    kind = BY_PARAMETERS[type(rule.parameters)]
    return "building" if kind.per_building else kind.place(rule.parameters) if kind.place is not None else None


def compile_rule(
    device_kind: DeviceKind, rule: Rule, place: str | None = None, siblings: tuple[Rule, ...] = ()
) -> Compiled:
    """`place`: what it is about where its parameters do not say."""
    kind = BY_PARAMETERS[type(rule.parameters)]
    return Compiled(
        rule,
        kind,
        device_kind,
        rule.family or rule.id,
        siblings,
        place=place or place_of(rule),
        telemetry=Reading in kind.reads or Reading in kind.reads_active,
        shape=shape_of(rule),
        gate=compile_gate(rule),
        judged_late=isinstance(rule.parameters, OfflineParameters),
    )


def compile_rules(device_kind: DeviceKind, rules: Iterable[Rule]) -> RuleSet:
    """The rules of one sort of device. Those about a place are among them: its items are what they read."""
    together = tuple(rules)
    compiled = [compile_rule(device_kind, rule, siblings=together) for rule in together]
    return rule_set(compiled, metric_positions(device_kind))


def rule_set(rules: Iterable[Compiled], positions: Mapping[str, int]) -> RuleSet:
    """Worst first: where one message sets off two rules of a family, the graver one names the alert."""
    compiled = [
        replace(one, order=order, rest=_rest(one, positions))
        for order, one in enumerate(sorted(rules, key=_gravest_first))
    ]
    reads: dict[type, list[Compiled]] = {}
    active: dict[type, list[Compiled]] = {}
    for one in compiled:
        for item in one.kind.reads:
            reads.setdefault(item, []).append(one)
        for item in one.kind.reads_active:
            active.setdefault(item, []).append(one)
    return RuleSet(
        {one.rule.id: one for one in compiled},
        {item: tuple(found) for item, found in reads.items()},
        {item: tuple(found) for item, found in active.items()},
        tuple(one for one in compiled if one.kind.starts and one.place is None),
        compile_quiet(reads.get(Reading, ()), positions),
    )


def _rest(one: Compiled, positions: Mapping[str, int]) -> tuple[int, float, float, bool] | None:
    if one.kind.rests is None or one.place is not None:
        return None
    metric, low, high = one.kind.rests(one.rule.parameters)
    return positions.get(metric, _NOWHERE), low, high, one.kind.rests_only_if_sent


def _gravest_first(one: Compiled) -> tuple[bool, int]:
    """The place before its devices, so that a second detector joins the fire instead of opening an order alone."""
    return one.place is None, -one.rule.severity.rank
