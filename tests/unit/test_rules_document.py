"""Rules as text: what is written is what is read, and every fault is told with its line and what to do."""

# ruff: noqa: E501 - one row a fault is read more easily than four lines

from __future__ import annotations

import dataclasses
import typing
from enum import Enum
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.adapters.rules import KINDS, load_defaults, read_plain, read_text
from services.adapters.rules.files import DEFAULTS, read_file
from services.adapters.rules.source import SourceError, read_source
from services.domain.devices import BY_NAME
from services.domain.rules.document import BY_WORD, Others, read_changes
from services.domain.rules.fields import shapes
from services.domain.rules.parameters import Compare, ThresholdParameters
from services.domain.rules.rule import Ask, During, Mode, Mutes, Rule, Scope, Within
from services.domain.rules.spans import read_span, read_time, write_span, write_time
from services.domain.rules.writing import plain_rule, write_document, write_rule
from services.domain.vocabulary import Label, Severity, Team

EVERY_DEFAULT = Others(tuple((kind, rule) for kind, rules in load_defaults().items() for rule in rules))
BURST = """kind: water_meter
rules:
  - id: water_meter.burst
    title: {zh: 疑似爆管, en: Suspected burst pipe}
    severity: major
    team: maintenance
    family: water_meter.leak
    when:
      threshold: {metric: flow, compare: ">=", limit: 3.125, for: 60s, clear_limit: 1.0}
    scope: {person_tags: [elder_living_alone], except_devices: [gy-water_meter-3]}
    during: {days: workday, from: "22:00", to: "06:00", daylight: false}
    guard: "values.flow > 0.0"
    group_by: building
    mutes: [{families: ["*.offline"], within: gateway}]
    ask: {wait: 30m}
    note: GB/T 778.1, Q4 of a DN15 meter
"""


def said(text: str, others: Others | None = EVERY_DEFAULT) -> list[str]:
    return [f"{one.line}:{one.column} {one.where} {one.words.en}" for one in read_text(text, others).findings]


def test_rule_document_is_read_whole() -> None:
    text = read_text(BURST, EVERY_DEFAULT)
    assert text.findings == ()
    (rule,) = text.rules
    assert rule.parameters == ThresholdParameters("flow", Compare.AT_LEAST, 3.125, for_s=60, clear_limit=1.0)
    assert rule.scope == Scope(
        person_tags=frozenset({"elder_living_alone"}), except_devices=frozenset({"gy-water_meter-3"})
    )
    assert rule.during == During("workday", 22.0, 6.0, False)
    assert (rule.group_by, rule.ask) == (Within.BUILDING, Ask(1800.0))
    assert rule.mutes == (Mutes(("*.offline",), Within.GATEWAY),)
    assert (rule.mode, rule.version, rule.opens_order) == (Mode.LIVE, 1, True)


def test_rule_document_may_be_one_rule_alone_or_json() -> None:
    (rule,) = read_text(BURST).rules
    assert read_text(write_rule("water_meter", rule)).rules == (rule,)
    assert read_plain({"kind": "water_meter", **plain_rule(rule)}).rules == (rule,)


SEVEN_FAULTS = """kind: water_meter
rules:
  - id: gas_meter.burst
    title: {zh: 疑似爆管}
    severity: bad
    team: maintenence
    whenn: x
    when:
      threshold: {metric: flwo, compare: ">=", limit: .nan, for: 60x}
"""


def test_rule_document_tells_all_faults_at_once_each_with_its_line() -> None:
    assert said(SEVEN_FAULTS) == [
        "3:5 rules[0].id the id begins with water_meter.",
        "4:5 rules[0].title en is missing",
        "5:5 rules[0].severity no value bad; there are: info, minor, major, critical",
        "6:5 rules[0].team no value maintenence; did you mean maintenance?",
        "7:5 rules[0].whenn no field whenn; did you mean when?",
        "9:19 rules[0].when.threshold.metric no metric water_meter.flwo; did you mean flow?",
        "9:48 rules[0].when.threshold.limit NaN: expected a finite number",
        "9:61 rules[0].when.threshold.for 60x is no span: 90s, 5m, 12h, 7d",
    ]
    assert all(one.words.zh and one.words.zh != one.words.en for one in read_text(SEVEN_FAULTS).findings)


def one(when: str, more: str = "", kind: str = "water_meter", severity: str = "major") -> str:
    return f"kind: {kind}\nid: {kind}.own\ntitle: {{zh: 甲, en: A}}\nseverity: {severity}\nteam: grid\nwhen:\n  {when}\n{more}"


FLOW = "threshold: {metric: flow, compare: '>=', limit: 3}"
WRONG: list[tuple[str, str, str]] = [
    ("a limit no reading can reach", one("threshold: {metric: flow, compare: '>=', limit: 900}"), "7:44 when.threshold.limit 900 is outside what flow can be, -200 … 200 m³/h"),
    ("an infinite limit", one("threshold: {metric: flow, compare: '>=', limit: .inf}"), "7:44 when.threshold.limit ∞: expected a finite number"),
    ("hysteresis the wrong way", one("threshold: {metric: flow, compare: '>=', limit: 3, clear_limit: 4}"), "7:54 when.threshold.clear_limit clear_limit 4 lies on the alarming side of 3: the alert would flap"),
    ("text for a number", one("threshold: {metric: flow, compare: '>=', limit: high}"), "7:44 when.threshold.limit high: expected a finite number"),
    ("an unknown rule kind", one("treshold: {metric: flow}"), "7:3 when.treshold no rule kind treshold; did you mean threshold?"),
    ("an unknown device kind", one(FLOW, kind="water_metre"), "1:1 kind no device kind water_metre; did you mean water_meter?"),
    ("an unknown event", one("event: {event: leek}"), "7:11 when.event.event no event water_meter.leek; did you mean leak?"),
    ("n over m", one("n_of_m: {metric: flow, compare: '>=', limit: 3, n: 4, m: 3}"), "7:51 when.n_of_m.n n lies between 1 and m (3)"),
    ("half a band", one("n_of_m: {metric: flow, compare: '>=', limit: 3, and_limit: 4}"), "7:3 when.n_of_m and_compare and and_limit go together"),
    ("an empty band", one("n_of_m: {metric: flow, compare: '>=', limit: 3, and_compare: '<=', and_limit: 2}"), "7:70 when.n_of_m.and_limit the band is empty: the rule could never fire"),
    ("consumption of a gauge", one("consumption: {metric: flow, window: 1d, compare: '>=', limit: 3}"), "7:17 when.consumption.metric flow is no counter"),
    ("slices that do not fit", one("consumption: {metric: total_m3, window: 1d, compare: '>=', limit: 3, every: 7h}"), "7:72 when.consumption.every window is a multiple of every"),
    ("one device that correlates", one("correlation: {event: leak, count: 1, window: 3m}"), "7:30 when.correlation.count lies between 2 and 10000"),
    ("a fall with a positive limit", one("rate: {metric: flow, compare: '<=', limit: 3, within: 5m}"), "7:39 when.rate.limit a rise is written >= with a positive limit, a fall <= with a negative one"),
    ("a pattern that names nothing", one("gathering: {rule: '*.offlin', count: 3, window: 1m, within: building}"), "7:15 when.gathering.rule no rule *.offlin; did you mean bin.offline?"),
    ("a place nobody knows", one("gathering: {rule: '*.offline', count: 3, window: 1m, within: town}"), "7:56 when.gathering.within no place town; there are: gateway, building, grid, community"),
    ("no window", one("window: {metric: flow, aggregate: max, window: 0s, compare: '>=', limit: 3}"), "7:42 when.window.window must be longer than nothing"),
    ("a family of others", one(FLOW, "family: smoke_detector.fire\n"), "8:1 family smoke_detector.fire is a family of smoke_detector; rules of one family watch one kind of device"),
    ("an unknown mode", one(FLOW, "mode: on\n"), "8:1 mode no value on; there are: live, shadow, off"),
    ("an unknown sort of day", one(FLOW, "during: {days: workdays}\n"), "8:10 during.days no sort of days workdays; did you mean workday?"),
    ("a wrong time of day", one(FLOW, "during: {from: '25:00'}\n"), "8:10 during.from 25:00 is no time of day: \"22:30\""),
    ("a list that is none", one(FLOW, "scope: {devices: a}\n"), "8:9 scope.devices a: expected a list [a, b]"),
    ("families that nothing bears", one(FLOW, "mutes: [{families: ['*.offlin'], within: gateway}]\n"), "8:21 mutes[0].families[0] no family *.offlin; did you mean bin.offline?"),
    ("a life-safety rule that is minor", one(FLOW, "life_safety: true\n"), "4:1 severity a life-safety rule is critical"),
    ("a life-safety rule as a shadow", one(FLOW, "life_safety: true\nmode: shadow\n", severity="critical"), "9:1 mode a life-safety rule cannot run as a shadow"),
    ("a life-safety rule that asks first", one(FLOW, "life_safety: true\nask: {}\n", severity="critical"), "9:1 ask a life-safety rule takes no ask"),
    ("a life-safety rule that is grouped", one(FLOW, "life_safety: true\ngroup_by: building\n", severity="critical"), "9:1 group_by a life-safety rule takes no group_by"),
    ("a life-safety rule that mutes", one(FLOW, "life_safety: true\nmutes: [{families: ['*.offline'], within: gateway}]\n", severity="critical"), "9:1 mutes a life-safety rule takes no mutes"),
    ("a life-safety rule that sends nobody", one(FLOW, "life_safety: true\nopens_order: false\n", severity="critical"), "9:1 opens_order a life-safety rule always sends somebody"),
    ("a guard on a metric that is not there", one(FLOW, "guard: values.power > 0.0\n"), "8:1 guard at 1:8 of the expression: water_meter has no values.power; known: total_m3, flow, battery, valve"),
    ("a guard that is no expression", one(FLOW, 'guard: "values.flow >"\n'), "8:1 guard"),
    ("an empty title", one(FLOW).replace("A}", "' '}"), "3:16 title.en a title must not be empty"),
    ("nothing that sets it off", one(FLOW).replace("when:\n  " + FLOW, ""), "1:1  when is missing: what sets the rule off?"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fault"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_rule_document_refuses(text: str, fault: str) -> None:
    (only,) = said(text)
    assert only.startswith(fault)


def test_rule_document_refuses_an_id_twice() -> None:
    twice = BURST + BURST.split("rules:\n")[1]
    assert said(twice) == ["17:5 rules[1].id water_meter.burst is the id of rules[0] already"]


NOT_READ: list[tuple[str, str, str]] = [
    ("broken YAML", "kind: gate\nrules: [\n", "not YAML"),
    ("a name twice", "kind: gate\nkind: bin\n", "2:1  kind is given twice"),
    ("an alias", "kind: &a gate\nrules: *a\n", "1:7  no anchors and aliases"),
    ("a constructor", "kind: !!python/object/apply:os.system ['true']\n", "1:7  no tags here"),
    ("two documents", "kind: gate\n---\nkind: bin\n", "there is more than one document"),
    ("nothing", "", "1:1  there is nothing in it"),
    ("nesting without end", "a: " + "[" * 40 + "]" * 40, "nested too deep"),
    ("too much of it", "# " + "x" * 300_000, "longer than 256 KiB"),
]


@pytest.mark.parametrize(("text", "fault"), [row[1:] for row in NOT_READ], ids=[row[0] for row in NOT_READ])
def test_rule_source_refuses(text: str, fault: str) -> None:
    (only,) = said(text)
    assert fault in only


def test_rule_source_costs_nothing_for_a_billion_laughs() -> None:
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join(['*' + before] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(SourceError, match="anchors"):
        read_source(laughs)


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_rule_source_meets_any_text_without_an_accident(text: str) -> None:
    read_text(text, EVERY_DEFAULT)


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from([shape.written for shape in shapes(Rule)] + ["kind", "when", "rules"]), plain_values
    ),
    st.sampled_from(sorted(BY_WORD)),
    plain_values,
)
@settings(max_examples=100, deadline=None)
def test_rule_document_meets_any_values_without_an_accident(given: dict[str, Any], word: str, fields: Any) -> None:
    read_plain({"kind": "water_meter", **given}, EVERY_DEFAULT)
    read_plain({"kind": "wristband", **given, "when": {word: fields}}, EVERY_DEFAULT)


finite = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6).map(lambda x: x + 0.0)
spans = st.floats(min_value=0, max_value=366 * 86400) | st.integers(0, 31_622_400).map(float)
hours = st.floats(min_value=0, max_value=24) | st.integers(0, 1440).map(lambda minutes: minutes / 60)
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)


def values_of(hint: Any, sort: str) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if type(None) in arguments:
        return st.none() | values_of(next(one for one in arguments if one is not type(None)), sort)
    if hint is float:
        return spans if sort == "span" else hours if sort == "time" else finite
    if origin is frozenset:
        return st.frozensets(words, max_size=3)
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values_of(arguments[0], "plain"), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*(values_of(one, "plain") for one in arguments))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    if dataclasses.is_dataclass(hint):
        return instances(hint)
    return {bool: st.booleans(), int: st.integers(1, 10**9)}.get(hint, words)


def instances(cls: Any) -> st.SearchStrategy[Any]:
    """Those that the class itself accepts."""

    def made(parts: dict[str, Any]) -> Any:
        try:
            return cls(**parts)
        except ValueError:
            return None

    parts = st.fixed_dictionaries({shape.name: values_of(shape.hint, shape.sort) for shape in shapes(cls)})
    return parts.map(made).filter(lambda one: one is not None)


rules = st.sampled_from(sorted(BY_WORD.values(), key=lambda cls: cls.__name__)).flatmap(
    lambda cls: st.fixed_dictionaries(
        {
            "parameters": instances(cls),
            **{
                shape.name: values_of(shape.hint, shape.sort)
                for shape in shapes(Rule)
                if shape.name not in ("parameters", "id", "title")
            },
            "id": words,
            "title": st.builds(Label, words, words),
        }
    ).map(lambda parts: Rule(**parts))
)


@given(rules)
@settings(max_examples=100, deadline=None)
def test_rule_written_and_read_is_the_same_rule(rule: Rule) -> None:
    """Whether it makes sense is another matter: here its text must carry every field, whatever stands in it."""
    plain = read_source(write_rule("gate", rule)).value
    expected = {"kind": "gate", **plain_rule(rule)}
    assert plain == expected
    from services.domain.rules.faults import Faults
    from services.domain.rules.fields import read_parts

    faults = Faults([])
    parts = read_parts(Rule, plain, (), faults, frozenset({"kind", "when"}), frozenset({"parameters"}))
    (fields,) = plain["when"].values()
    parts["parameters"] = type(rule.parameters)(**read_parts(type(rule.parameters), fields, (), faults))
    assert (Rule(**parts), faults.found) == (rule, [])


@given(spans)
def test_spans_written_and_read_are_the_same(seconds: float) -> None:
    assert read_span(write_span(seconds)) == seconds


@given(hours)
def test_times_written_and_read_are_the_same(at: float) -> None:
    assert read_time(write_time(at)) == at


def test_spans_are_read_as_people_write_them() -> None:
    found = [read_span(written) for written in ("90s", "5m", "12h", "7d", "1d12h", 60, 0.5, "1.5h")]
    assert found == [90, 300, 43200, 604800, 129600, 60, 0.5, 5400]
    wrong: tuple[Any, ...] = ("", "s", "5 m", "-5m", "5m x", True, None, [], float("nan"))
    assert [read_span(written) for written in wrong] == [None] * len(wrong)


def test_rule_states_may_be_named() -> None:
    named = one("threshold: {metric: valve, compare: '>=', limit: fault, for: 1m}")
    assert read_text(named).rules[0].parameters == ThresholdParameters("valve", Compare.AT_LEAST, 2, for_s=60)


# -- the defaults


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_default_rules_stand_in_their_file_as_they_would_be_written(kind: str) -> None:
    """So that a diff of two versions shows what changed and not how it was typed."""
    path = DEFAULTS / f"{kind}.yaml"
    text = read_file(path, EVERY_DEFAULT)
    assert text.findings == ()
    assert path.read_text(encoding="utf-8") == write_document(kind, text.rules)


def test_default_rules_are_there_for_every_kind_and_no_other() -> None:
    assert {path.stem for path in DEFAULTS.glob("*")} == set(KINDS) == {*BY_NAME, "platform"}
    assert set(load_defaults()) == set(KINDS)


# -- what is set for one device or person

HIGH = next(rule for rule in load_defaults()["wristband"] if rule.id == "wristband.heart_rate_high")
BURST_RULE = next(rule for rule in load_defaults()["water_meter"] if rule.id == "water_meter.burst")


def test_override_takes_some_parameters_as_they_are_written() -> None:
    assert read_changes(HIGH, BY_NAME["wristband"], {"limit": 120}) == ({"limit": 120.0}, ())
    assert read_changes(BURST_RULE, BY_NAME["water_meter"], {"for": "2m"}) == ({"for_s": 120.0}, ())


@pytest.mark.parametrize(
    ("given", "where", "words"),
    [
        ({"limit": 999}, "limit", "outside what heart_rate can be"),
        ({"limit": 131}, "and_limit", "the band is empty"),
        ({"metric": "spo2"}, "metric", "what the rule watches"),
        ({"limits": 1}, "limits", "did you mean limit?"),
        ({"n": 9}, "n", "between 1 and m"),
        ({}, "", "expected the parameters that differ"),
        ([], "", "expected the parameters that differ"),
    ],
)
def test_override_refuses(given: Any, where: str, words: str) -> None:
    changes, faults = read_changes(HIGH, BY_NAME["wristband"], given)
    assert changes == {}
    assert any(fault.where == where and words in fault.words.en for fault in faults), faults


def test_rule_vocabulary_is_that_of_the_fields() -> None:
    """Every word of the enumerations can be written."""
    for severity in Severity:
        for team in Team:
            text = one(FLOW, severity=severity.value).replace("team: grid", f"team: {team.value}")
            assert said(text) == []
