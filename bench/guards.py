"""Two CEL libraries on the same guards: what they answer, against the specification, and what an answer costs.

    python -m bench.guards          # needs cel-python beside common-expression-language (the extra `bench`)

And what a guard, hours and both cost in front of a rule, for an item that reaches it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from services.domain.calendar import counts_at, is_workday
from services.domain.rules.evaluation import Facts
from services.domain.rules.guards import compile_guard
from services.domain.rules.rule import During

ITEM: dict[str, Any] = {
    "values": {"energy_kwh": 812.5, "power": 5.0, "current": 0.1, "voltage": 228.0, "power_factor": 0.9},
    "event": "alarm",
    "data": {"flow": 1, "code": "E1"},
    "device": {"id": "d1", "kind": "electricity_meter", "tags": ["main"], "place": "1号楼101室", "floor": 3},
    "household": {"tags": ["elder_living_alone"], "away": False},
    "hour": 22.5,
    "workday": True,
}
SPECIFIED: tuple[tuple[str, bool | None], ...] = (
    ("values.power > 0.0", True),
    ("values.power > 0", True),
    ("values.power == 5", True),
    ("device.floor == 3.0", True),
    ("data.flow > 0.5", True),
    ("data.code == 1", False),
    ("data.code > 1", None),
    ("values.none > 1.0", None),
    ("values.none > 1.0 || true", True),
    ("true || values.none > 1.0", True),
    ("values.none > 1.0 && false", False),
    ("false && values.none > 1.0", False),
    ("values.none > 1.0 && true", None),
    ("values.none > 1.0 || false", None),
    ("has(values.none)", False),
    ("1 / 0 > 1 && false", False),
    ("9223372036854775807 + 1 > 0", None),
    ("device.tags.exists(t, t > 1 || t == 'main')", True),
    ("'main' in device.tags", True),
)
TIMED = ("values.power > 0.0", "values.power > 0.0 && event == 'alarm' && hour >= 22.0", "'main' in device.tags")
Answer = Callable[[], object]


def of_cel(source: str) -> Answer:
    import cel

    program = cel.compile(source)
    return lambda: program.execute(ITEM)


def of_celpy(source: str) -> Answer:
    import celpy
    from celpy.adapter import json_to_cel

    environment = celpy.Environment()
    program = environment.program(environment.compile(source))

    def answer() -> object:
        variables: Any = json_to_cel(ITEM)
        result = program.evaluate(variables)
        return bool(result) if type(result).__name__ == "BoolType" else result

    return answer


def of_guard(source: str) -> Answer:
    """As the engine asks: only the fields that the guard reads are handed over."""
    guard = compile_guard(source)

    def variable(name: str, fields: tuple[str, ...]) -> object:
        found = ITEM[name]
        return {field: found[field] for field in fields if field in found} if fields else found

    return lambda: guard.holds(variable)


def truth(answer: Answer) -> bool | None:
    try:
        result = answer()
    except Exception:
        return None
    return result if isinstance(result, bool) else None


def micros(answer: Callable[[], object], times: int) -> float:
    began = time.process_time()
    for _ in range(times):
        answer()
    return (time.process_time() - began) / times * 1e6


def main() -> None:
    ways = (
        ("cel (Rust), whole item", of_cel, 5000),
        ("celpy", of_celpy, 300),
        ("cel behind guards.py", of_guard, 20_000),
    )
    print("| library | as specified | wrong |" + "".join(f" `{source}` |" for source in TIMED))
    print("|---" * (3 + len(TIMED)) + "|")
    for name, way, times in ways:
        wrong = [source for source, expected in SPECIFIED if truth(way(source)) is not expected]
        cost = [micros(way(source), times) for source in TIMED]
        answers = f"{len(SPECIFIED) - len(wrong)} of {len(SPECIFIED)}"
        print(f"| {name} | {answers} | {'; '.join(wrong)} |" + "".join(f" {value:.1f} µs |" for value in cost))
    facts, now = Facts(interval_ms=60_000, latitude=29.7, longitude=116.0), 1_795_305_600_000
    hours, sun = During(days="workday", from_hour=22, to_hour=6), During(daylight=True)
    print(f"\nhours {micros(lambda: counts_at(hours, now, facts), 20_000):.1f} µs, ", end="")
    print(f"with daylight {micros(lambda: counts_at(sun, now, facts), 20_000):.1f} µs, ", end="")
    from services.domain.calendar import local_time

    day = local_time(now, facts.zone).date()
    print(f"a working day {micros(lambda: is_workday(day), 20_000):.2f} µs")


if __name__ == "__main__":
    main()
