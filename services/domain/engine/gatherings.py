"""Who of a place has an open alert that a gathering rule counts: kept as alerts open and end, rebuilt from them."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache

from services.domain.engine.compiled import Compiled
from services.domain.engine.decisions import OpenAlert
from services.domain.engine.subjects import Roster, Subject, building_key
from services.domain.ids import DeviceNo, RuleId
from services.domain.registered import DeviceRow
from services.domain.rules.evaluation import Gathered
from services.domain.rules.parameters import GatheringParameters
from services.domain.rules.rule import Mode
from services.domain.rules.rulebook import applies

Move = tuple[Subject, Compiled, Sequence[int]]
"""A place, the gathering rule there, and since when each device has its alert open, in order."""


@dataclass(slots=True)
class _Crowd:
    """The devices of one place that one rule counts. A device with several such alerts counts once, from its first."""

    since: dict[DeviceNo, dict[RuleId, int]] = field(default_factory=dict)
    rises: list[int] = field(default_factory=list)

    def move(self, device_no: DeviceNo, rule_id: RuleId, onset_ms: int | None) -> bool:
        """Whether that changed anything. `onset_ms` None: its alert is over."""
        alerts = self.since.get(device_no, {})
        before = min(alerts.values(), default=None)
        after = {other: since for other, since in alerts.items() if other != rule_id}
        if onset_ms is not None:
            after[rule_id] = onset_ms
        now = min(after.values(), default=None)
        if after:
            self.since[device_no] = after
        else:
            self.since.pop(device_no, None)
        if now == before:
            return False
        if before is not None:
            del self.rises[bisect_left(self.rises, before)]
        if now is not None:
            insort(self.rises, now)
        return True


class Gatherings:
    """A function of the alerts that are open and nothing else, so it need not be stored."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster
        self._watched: dict[str, tuple[Compiled, ...]] = {
            key: watching for key, place in roster.places.items() if (watching := place.rules.reads.get(Gathered, ()))
        }
        self._crowds: dict[tuple[str, RuleId], _Crowd] = {}

    def fill(self, opened: Iterable[OpenAlert]) -> None:
        """Counts what is open, without telling anybody."""
        for alert in opened if self._watched else ():
            subject = self._roster.find(alert.subject)
            for rule_id in alert.active:
                one = subject.rules.by_id.get(rule_id) if subject is not None else None
                if subject is not None and one is not None:
                    self.moved(subject, one, alert)

    def moved(self, subject: Subject, one: Compiled, alert: OpenAlert | None) -> list[Move]:
        """To be called when a rule has spoken of a device; `alert`: its family's open one. Whose count changed."""
        if not self._watched or subject.device is None:
            return []
        onset_ms = alert.onset_ms if alert is not None and one.rule.id in alert.active else None
        found: list[Move] = []
        for key in _places(subject.device):
            for gathering in self._watched.get(key, ()):
                if _counts(gathering, one, subject.device):
                    crowd = self._crowds.setdefault((key, gathering.rule.id), _Crowd())
                    if crowd.move(subject.device.device_no, one.rule.id, onset_ms):
                        found.append((self._roster.places[key], gathering, crowd.rises))
        return found

    def all(self) -> Iterator[Move]:
        """Every place that remembers or has somebody to count: for a start, when rules or devices may have changed."""
        for key, rules in self._watched.items():
            place = self._roster.places[key]
            for one in rules:
                crowd = self._crowds.get((key, one.rule.id))
                if crowd is not None or one.rule.id in place.states:
                    yield place, one, crowd.rises if crowd is not None else []


def _places(row: DeviceRow) -> Iterator[str]:
    """A gateway is not behind itself: its own alerts count for the places that it lies in."""
    if row.gateway_no is not None:
        yield f"gateway:{row.gateway_no}"
    if row.building_id is not None:
        yield building_key(row.building_id)
    if row.grid_id is not None:
        yield f"grid:{row.grid_id}"
    yield f"community:{row.community_id}"


def _counts(gathering: Compiled, one: Compiled, row: DeviceRow) -> bool:
    """A rule on trial pages nobody, so it must not do so by way of the place either."""
    parameters = gathering.rule.parameters
    assert isinstance(parameters, GatheringParameters)  # noqa: S101
    on_trial = one.rule.mode is Mode.SHADOW and gathering.rule.mode is not Mode.SHADOW
    named = _matches(one.rule.id, parameters.rule) or _matches(one.family, parameters.rule)
    return not on_trial and named and applies(gathering.rule, row)


@lru_cache(maxsize=4096)
def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern)
