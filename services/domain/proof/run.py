"""Runs a case through the real engine and says, in words, where what came is not what was expected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from services.domain.devices.kind import DeviceKind
from services.domain.engine.core import Engine
from services.domain.engine.decisions import Decided
from services.domain.engine.replay import Heard, replay
from services.domain.engine.subjects import Subject, building_key, device_key
from services.domain.proof.case import WrittenAlert, WrittenCase, WrittenFile, moment_ms
from services.domain.proof.tally import Alerted, of_all
from services.domain.proof.world import BadCase, Staged, stage
from services.domain.rules.document import kind_name
from services.domain.rules.rule import Rule
from services.domain.rules.rulebook import Rulebook


@dataclass(frozen=True, slots=True)
class Ran:
    """How a case went. `wrong` is empty where it went as expected."""

    name: str
    about: tuple[str, ...]
    fired: frozenset[str]
    """Rules that raised an alert or made one worse."""
    cleared: frozenset[str]
    alerts: tuple[Alerted, ...]
    wrong: tuple[str, ...]
    kinds: frozenset[str] = frozenset()
    """The kinds of the rules that it is about, as they are called in a document."""

    @property
    def passed(self) -> bool:
        return not self.wrong


def run_case(file: WrittenFile, case: WrittenCase, catalogue: Mapping[str, DeviceKind], rulebook: Rulebook) -> Ran:
    """A case that makes no sense fails with what is wrong with it."""
    failed: list[str] = []
    try:
        staged = stage(file, case, catalogue, rulebook)
    except BadCase as error:
        return Ran(case.name, case.about, frozenset(), frozenset(), (), (str(error),))

    def broke(rule: str, subject: str, error: Exception) -> None:
        failed.append(f"{rule} failed on {subject}: {type(error).__name__}: {error}")

    engine = Engine(staged.roster, on_fault=broke)

    engine.restore((), {})
    engine.tick(staged.start)

    def heard(subject: Subject, now_ms: int, gone: bool) -> int | None:
        alive = subject.device is not None and subject.device.device_no in staged.alive
        return now_ms if alive and not gone else None

    alerts = of_all(_played(engine, staged, heard))
    wrong = [*failed, *_compare(case.expect, alerts, staged)]
    spoke = frozenset(rule for alert in alerts for rule in alert.spoke)
    return Ran(
        case.name,
        case.about,
        spoke,
        frozenset(rule for alert in alerts if alert.cleared_ms is not None for rule in alert.spoke),
        tuple(alerts),
        tuple(wrong),
        frozenset(kind_name(type(one.parameters)) for one in _rules(rulebook) if one.id in case.about),
    )


def _rules(rulebook: Rulebook) -> Iterator[Rule]:
    for rules in rulebook.defaults.values():
        yield from rules


def _played(engine: Engine, staged: Staged, heard: Heard) -> Iterator[Decided]:
    """What devices say, and at its time what happens to the platform, which no device says."""
    items = list(staged.items)
    for happening in staged.platform:
        before = [item for item in items if item.received_ms <= happening.received_ms]
        items = items[len(before) :]
        yield from replay(engine, before, happening.received_ms, heard=heard)
        engine.happened(happening)
        yield engine.take()
    yield from replay(engine, items, staged.until, heard=heard)


def _compare(expected: tuple[WrittenAlert, ...], came: list[Alerted], staged: Staged) -> list[str]:
    """Each expected alert takes the one that came nearest to it; what is left over on either side is said."""
    left = list(came)
    wrong: list[str] = []
    for alert in sorted(expected, key=lambda one: _ms(one.fired, staged)):
        subject = _subject(alert, staged)
        fits = [one for one in left if one.raised_by == alert.rule and one.subject == subject]
        fired = _ms(alert.fired, staged)
        if not fits:
            wrong.append(f"missing: {alert.rule} on {_name(subject, staged)} at {_said(fired, staged)}")
            continue
        found = min(fits, key=lambda one: abs(one.fired_ms - fired))
        left.remove(found)
        differ = _differences(alert, found, staged)
        if differ:
            wrong.append(f"{alert.rule} on {_name(subject, staged)}: {'; '.join(differ)}")
    wrong += [f"unexpected: {_shown(one, staged)}" for one in left]
    return wrong


def _differences(expected: WrittenAlert, came: Alerted, staged: Staged) -> list[str]:
    found: list[str] = []

    def time(what: str, wanted: int | None, got: int | None) -> None:
        if wanted != got:
            found.append(f"{what} at {_said(got, staged)}, expected {_said(wanted, staged)}")

    def same(what: str, wanted: object, got: object) -> None:
        if wanted is not None and wanted != got:
            found.append(f"{what} {got}, expected {wanted}")

    time("fired", _ms(expected.fired, staged), came.fired_ms)
    if expected.onset is not None:
        time("began", _ms(expected.onset, staged), came.onset_ms)
    time("cleared", None if expected.cleared is None else _ms(expected.cleared, staged), came.cleared_ms)
    same("severity", expected.severity, came.severity.value)
    same("severities", expected.severities, tuple(severity.value for _, severity in came.severities))
    same("repeated", expected.repeated, came.occurrences - 1)
    same("held", expected.held, came.held)
    same("shadow", expected.shadow, came.shadow)
    same("value", expected.value, came.trigger.get("value"))
    return found


def _ms(moment: int | str, staged: Staged) -> int:
    return moment_ms(moment, staged.start, staged.zone)


def _subject(alert: WrittenAlert, staged: Staged) -> str:
    if alert.subject is not None:
        return alert.subject
    if alert.building is not None:
        return building_key(alert.building)
    number = staged.numbers.get(alert.device) if alert.device else next(iter(staged.numbers.values()))
    return device_key(number) if number is not None else f"device:{alert.device}"


def _name(subject: str, staged: Staged) -> str:
    names = {device_key(number): name for name, number in staged.numbers.items()}
    return names.get(subject, subject)


def _said(ms: int | None, staged: Staged) -> str:
    """`+1h30m (09:30:00)`: since the start, and on the clock of the place."""
    if ms is None:
        return "no time"
    local = datetime.fromtimestamp(ms / 1000, ZoneInfo(staged.zone))
    return f"{span(ms - staged.start)} ({local:%m-%d %H:%M:%S}{f'.{ms % 1000:03d}' if ms % 1000 else ''})"


def span(ms: int) -> str:
    """`+1h30m`, `-5s`, `+0.001s`."""
    sign, rest = ("-" if ms < 0 else "+"), abs(ms)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    if rest or not parts:
        parts.append(f"{rest / 1000:g}s")
    return sign + "".join(parts)


def _shown(alert: Alerted, staged: Staged) -> str:
    over = f", cleared at {_said(alert.cleared_ms, staged)}" if alert.cleared_ms is not None else ", still open"
    return (
        f"{alert.raised_by} ({alert.severity.value}) on {_name(alert.subject, staged)}"
        f" fired at {_said(alert.fired_ms, staged)}{over}"
    )
