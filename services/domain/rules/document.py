"""Rules as people write them: plain values into rules, or everything that is wrong with them at once.

A document is `{kind: …, rules: […]}`, or one rule with `kind` among its fields. docs/rules.md tells what stands in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from services.domain.devices.kind import DeviceKind, MetricType
from services.domain.rules import BY_PARAMETERS
from services.domain.rules.checks import IDENTITY, check_days, check_parameters
from services.domain.rules.evaluation import Event, Reading
from services.domain.rules.faults import Fault, Faults, Path
from services.domain.rules.fields import FieldShape, build, read_parts, shapes
from services.domain.rules.guards import GuardError, check_guard, compile_guard
from services.domain.rules.parameters import GatheringParameters, Parameters
from services.domain.rules.rule import Mode, Rule
from services.domain.vocabulary import Label, Severity

RULE_ID = re.compile(r"[a-z0-9][a-z0-9_]*(\.[a-z0-9_]+)+")
LONGEST_ID = 100
MOST_RULES = 1000
KIND, RULES, WHEN = "kind", "rules", "when"
_BESIDES = frozenset({KIND, WHEN})
_NUMBERS = frozenset({"limit", "clear_limit", "and_limit", "expect"})


def kind_name(parameters: type) -> str:
    """What the rule kind is called in a document, as its file is: NOfMParameters → n_of_m."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", parameters.__name__.removesuffix("Parameters")).lower()


BY_WORD: dict[str, type] = {kind_name(parameters): parameters for parameters in BY_PARAMETERS}


@dataclass(frozen=True, slots=True)
class Document:
    """`rules`: the sound ones, each with its place in the document. With any fault, nothing of it is to be used."""

    kind: str
    rules: tuple[tuple[Rule, Path], ...]
    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True)
class Others:
    """The rules a document will stand beside: device kind, rule."""

    rules: tuple[tuple[str, Rule], ...] = ()


def read_document(given: Any, kinds: Mapping[str, DeviceKind]) -> Document:
    """All rules of the document, checked against the catalogue; `check_beside` checks them against each other."""
    faults = Faults([])
    if not isinstance(given, Mapping):
        faults.add((), "应为 kind 与 rules", "expected kind and rules")
        return Document("", (), tuple(faults.found))
    name = given.get(KIND)
    kind = kinds.get(name) if isinstance(name, str) else None
    if KIND not in given:
        faults.add((), "缺少 kind（设备类型）", "kind is missing: which devices is this about?")
    elif kind is None:
        faults.unknown((KIND,), Label("设备类型", "device kind"), name, kinds)
    rules: list[tuple[Rule, Path]] = []
    for path, one in _rules_of(given, faults):
        rule = _read_rule(one, kind, path, faults)
        if rule is not None:
            rules.append((rule, path))
    _no_twins(given, faults)
    return Document(kind.name if kind else "", tuple(rules), tuple(faults.found))


def _rules_of(given: Mapping[str, Any], faults: Faults) -> Iterable[tuple[Path, Any]]:
    if RULES not in given:
        return [((), given)]
    for key in given:
        if key not in (KIND, RULES):
            faults.unknown((key,), Label("字段", "field"), key, (KIND, RULES))
    found = given[RULES]
    if not isinstance(found, list) or not found:
        faults.add((RULES,), "应为规则列表", "expected a list of rules")
        return []
    if len(found) > MOST_RULES:
        faults.add((RULES,), f"超过 {MOST_RULES} 条规则", f"more than {MOST_RULES} rules")
        return []
    return [((RULES, index), one) for index, one in enumerate(found)]


def _no_twins(given: Mapping[str, Any], faults: Faults) -> None:
    listed = given.get(RULES)
    seen: dict[str, int] = {}
    for index, one in enumerate(listed if isinstance(listed, list) else ()):
        rule_id = one.get("id") if isinstance(one, Mapping) else None
        if isinstance(rule_id, str) and seen.setdefault(rule_id, index) != index:
            first = f"rules[{seen[rule_id]}]"
            faults.add((RULES, index, "id"), f"{rule_id} 已用于 {first}", f"{rule_id} is the id of {first} already")


def _read_rule(given: Any, kind: DeviceKind | None, path: Path, faults: Faults) -> Rule | None:
    before = len(faults.found)
    parts = read_parts(Rule, given, path, faults, _BESIDES, frozenset({"parameters"}))
    if isinstance(given, Mapping):
        if path and KIND in given:
            faults.add((*path, KIND), "kind 写在 rules 之上", "kind stands above the list of rules")
        parameters = _read_when(given, kind, path, faults)
        if parameters is not None:
            parts["parameters"] = parameters
    _check_rule(parts, kind, path, faults)
    return Rule(**parts) if len(faults.found) == before else None


def _read_when(given: Mapping[str, Any], kind: DeviceKind | None, path: Path, faults: Faults) -> Parameters | None:
    """`when: {rule kind: {its fields}}`."""
    when = given.get(WHEN)
    here = (*path, WHEN)
    if WHEN not in given:
        faults.add(path, "缺少 when（触发条件）", "when is missing: what sets the rule off?")
        return None
    if not isinstance(when, Mapping) or len(when) != 1:
        faults.add(here, "应为一个“规则类型: {…}”", "expected exactly one rule kind with its fields")
        return None
    word, fields = next(iter(when.items()))
    if word not in BY_WORD:
        faults.unknown((*here, word), Label("规则类型", "rule kind"), word, BY_WORD)
        return None
    return read_parameters(BY_WORD[word], {} if fields is None else fields, kind, (*here, word), faults)


def read_parameters(cls: type, fields: Any, kind: DeviceKind | None, path: Path, faults: Faults) -> Parameters | None:
    """The parameters of one rule kind; None where anything is wrong with them."""
    before = len(faults.found)
    parts = read_parts(cls, _with_options(fields, kind), path, faults)
    check_parameters(cls, parts, kind, path, faults)
    return build(cls, parts, path, faults) if len(faults.found) == before else None


def _with_options(fields: Any, kind: DeviceKind | None) -> Any:
    """Limits of a state or switch may be named: `expect: closed`, `limit: true`."""
    if not isinstance(fields, Mapping) or kind is None:
        return fields
    metric = next((one for one in kind.metrics if one.name == fields.get("metric")), None)
    if metric is None or metric.type not in (MetricType.STATE, MetricType.SWITCH):
        return fields

    def figure(value: Any) -> Any:
        if isinstance(value, bool) and metric.type is MetricType.SWITCH:
            return float(value)
        return metric.options.index(value) if isinstance(value, str) and value in metric.options else value

    return {key: figure(value) if key in _NUMBERS else value for key, value in fields.items()}


def _check_rule(parts: Mapping[str, Any], kind: DeviceKind | None, path: Path, faults: Faults) -> None:
    rule_id = parts.get("id")
    if rule_id is not None:
        if len(rule_id) > LONGEST_ID or not RULE_ID.fullmatch(rule_id):
            faults.add((*path, "id"), "应形如 water_meter.burst", "expected a name such as water_meter.burst")
        elif kind is not None and not rule_id.startswith(f"{kind.name}."):
            faults.add((*path, "id"), f"须以 {kind.name}. 开头", f"the id begins with {kind.name}.")
    if parts.get("version", 1) < 1:
        faults.add((*path, "version"), "版本从 1 起", "versions begin at 1")
    title = parts.get("title")
    for language in ("zh", "en") if title is not None else ():
        if not getattr(title, language).strip():
            faults.add((*path, "title", language), "标题不能为空", "a title must not be empty")
    during = parts.get("during")
    if during is not None:
        check_days(during.days, (*path, "during", "days"), faults)
    for index, mutes in enumerate(parts.get("mutes", ())):
        if not mutes.families:
            faults.add((*path, "mutes", index, "families"), "列表为空", "the list is empty")
    if "ask" in parts and parts["ask"] is not None and parts["ask"].wait_s == 0:
        faults.add((*path, "ask", "wait"), "须大于零", "must be longer than nothing")
    if parts.get("guard") is not None:
        _check_guard(parts["guard"], parts.get("parameters"), kind, (*path, "guard"), faults)
    if parts.get("life_safety"):
        _check_life_safety(parts, path, faults)


def _check_guard(
    source: str, parameters: Parameters | None, kind: DeviceKind | None, path: Path, faults: Faults
) -> None:
    """Where the parameters are wrong, what the rule is handed is not known, and only the expression is looked at."""
    reads: set[type] = {Reading, Event}
    if parameters is not None:
        rule_kind = BY_PARAMETERS[type(parameters)]
        reads = {*rule_kind.reads, *rule_kind.reads_active}
    try:
        if kind is None:
            compile_guard(source)
        else:
            check_guard(source, kind, reads_values=Reading in reads, reads_events=Event in reads)
    except GuardError as error:
        place = f"{error.line}:{error.column}"
        faults.add(path, f"表达式 {place} 处：{error.why}", f"at {place} of the expression: {error.why}")


def _check_life_safety(parts: Mapping[str, Any], path: Path, faults: Faults) -> None:
    """Nothing may come between a call for help and whoever goes."""
    if parts.get("severity", Severity.CRITICAL) is not Severity.CRITICAL:
        faults.add((*path, "severity"), "生命安全规则须为 critical", "a life-safety rule is critical")
    if not parts.get("opens_order", True):
        faults.add((*path, "opens_order"), "生命安全规则必须派单", "a life-safety rule always sends somebody")
    if parts.get("mode") is Mode.SHADOW:
        faults.add((*path, "mode"), "生命安全规则不能只作影子运行", "a life-safety rule cannot run as a shadow")
    for name in ("ask", "group_by", "mutes", "during", "guard"):
        if parts.get(name):
            faults.add((*path, name), f"生命安全规则不能有 {name}", f"a life-safety rule takes no {name}")


def check_beside(document: Document, others: Others) -> tuple[Fault, ...]:
    """What is wrong with the document's rules where they stand: families of other kinds, patterns that name nothing."""
    faults = Faults([])
    replaced = {rule.id for rule, _ in document.rules}
    standing = [(kind, rule) for kind, rule in others.rules if rule.id not in replaced]
    standing += [(document.kind, rule) for rule, _ in document.rules]
    homes: dict[str, str] = {}
    for kind, rule in standing:
        homes.setdefault(rule.family or rule.id, kind)
    for rule, path in document.rules:
        home = homes[rule.family or rule.id]
        if home != document.kind:
            faults.add(
                (*path, "family"),
                f"{rule.family} 是 {home} 的告警族；同族规则须看同一类设备",
                f"{rule.family} is a family of {home}; rules of one family watch one kind of device",
            )
        parameters = rule.parameters
        if isinstance(parameters, GatheringParameters):
            names = [one.id for _, one in standing if one.id != rule.id]
            if not any(fnmatchcase(name, parameters.rule) for name in names):
                faults.unknown((*path, WHEN, "gathering", "rule"), Label("规则", "rule"), parameters.rule, names)
        for index, mutes in enumerate(rule.mutes):
            for position, pattern in enumerate(mutes.families):
                if not any(fnmatchcase(name, pattern) for name in homes):
                    here = (*path, "mutes", index, "families", position)
                    faults.unknown(here, Label("告警族", "family"), pattern, homes)
    return tuple(faults.found)


def read_changes(rule: Rule, kind: DeviceKind, given: Any) -> tuple[dict[str, Any], tuple[Fault, ...]]:
    """What is set for one device or person: some of the rule's parameters as they are written; by field name.

    What the rule watches (its metric, its events) is the rule's and stays.
    """
    faults = Faults([])
    cls = type(rule.parameters)
    if not isinstance(given, Mapping) or not given:
        faults.add((), "应为要改的参数", "expected the parameters that differ")
        return {}, tuple(faults.found)
    known = {shape.written: shape for shape in shapes(cls)}
    for key in given:
        if key in known and known[key].name in IDENTITY:
            faults.add(
                (key,), f"{key} 决定规则看什么，不能单独改", f"{key} says what the rule watches; it stays as it is"
            )
    whole = {**_as_written(rule.parameters, known.values()), **given}
    fitted = read_parameters(cls, whole, kind, (), faults)
    if fitted is None or faults.found:
        return {}, tuple(faults.found)
    return {known[key].name: getattr(fitted, known[key].name) for key in given}, ()


def _as_written(parameters: Parameters, known: Iterable[FieldShape]) -> dict[str, Any]:
    """Bare values, as a document may carry them: seconds and hours as numbers."""

    def plain(value: Any) -> Any:
        return [plain(one) for one in value] if isinstance(value, tuple) else getattr(value, "value", value)

    return {shape.written: plain(getattr(parameters, shape.name)) for shape in known}
