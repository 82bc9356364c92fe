"""Writes classes of orders as a document: always in the same order; read back, they are the same classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from services.domain.orders.classes.classes import ALWAYS, NIGHTS, ClassClock, Classes, Match, OrderClass
from services.domain.orders.terms import Mode, Span, Step
from services.domain.rules.spans import write_span, write_time
from services.domain.rules.writing import flow


def write_classes(classes: Classes) -> str:
    lines: list[str] = []
    if classes.calendars:
        lines.append("calendars:")
        for name, spans in classes.calendars.items():
            lines.append(f"  {name}:")
            lines += [f"    - {flow(_span(span))}" for span in spans]
        lines.append("")
    if classes.nights != NIGHTS:
        lines += [f"nights: {flow(_span(classes.nights))}", ""]
    lines.append("classes:")
    for one in classes.classes:
        first, *rest = _class(one)
        lines += [f"  - {first}", *(f"    {line}" for line in rest), ""]
    return "\n".join(lines[:-1]) + "\n"


def _class(one: OrderClass) -> Iterator[str]:
    yield f"id: {one.id}"
    yield f"title: {flow({'zh': one.title.zh, 'en': one.title.en})}"
    if len(one.match) == 1:
        yield f"match: {flow(_match(one.match[0]))}"
    elif one.match:
        yield "match:"
        yield from (f"  - {flow(_match(match))}" for match in one.match)
    if one.calendar != ALWAYS:
        yield f"calendar: {one.calendar}"
    if one.mode is not Mode.TEAM:
        yield f"mode: {one.mode.value}"
    if one.offer != 3:
        yield f"offer: {one.offer}"
    yield "clocks:"
    for name, clock in one.clocks.items():
        yield f"  {name}: {flow(_clock(clock))}"
    if one.needs:
        yield f"needs: {flow({move: list(names) for move, names in one.needs.items()})}"
    if one.pause.reasons:
        pause: dict[str, Any] = {"reasons": list(one.pause.reasons)}
        longest = {"longest": write_span(one.pause.longest_s)} if one.pause.longest_s else {}
        yield f"pause: {flow(pause | longest)}"


def _match(match: Match) -> dict[str, Any]:
    found: dict[str, Any] = {
        "severity": [severity.value for severity in match.severity],
        "sources": list(match.sources),
        "kinds": list(match.kinds),
        "categories": list(match.categories),
        "alerts": list(match.alerts),
    }
    said = {name: listed for name, listed in found.items() if listed}
    return said if match.life_safety is None else said | {"life_safety": match.life_safety}


def _clock(clock: ClassClock) -> dict[str, Any]:
    found: dict[str, Any] = {"due": write_span(clock.due_s)}
    if clock.warn_s:
        found["warn"] = write_span(clock.warn_s)
    for name, steps in (("ladder", clock.ladder), ("nights", clock.nights)):
        if steps:
            found[name] = _ladder(steps)
    if clock.again_s:
        found["again"] = write_span(clock.again_s)
    return found


def _ladder(steps: Iterable[Step]) -> Mapping[str, Any]:
    return {step.rung.name.lower(): write_span(step.after_s) if step.after_s else "0s" for step in steps}


def _span(span: Span) -> dict[str, Any]:
    return {"days": span.days, "from": write_time(span.from_hour), "to": write_time(span.to_hour)}
