"""Applies profiles: a part in its vendor's words becomes parts in the words of the device's kind."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import translate as glob
from typing import Any

from services.domain.codecs import NATIVE, Decoded
from services.domain.devices import BY_NAME as KINDS
from services.domain.devices.kind import DeviceKind, Metric, MetricType
from services.domain.ids import DeviceId
from services.domain.messages import (
    AT_ARRIVAL_MS,
    NO_SESSION,
    DeviceEvent,
    Reason,
    Rejected,
    Reply,
    StatusChange,
    Telemetry,
)
from services.domain.profiles.profile import EventRule, FieldRule, Profile, Scalar
from services.domain.profiles.units import conversion

_UNIT = re.compile(r"(.+) \[([^\[\]]{1,32})\]")
_DECIMAL = re.compile(r"[+-]?\d{1,18}(?:\.\d{1,18})?(?:[eE][+-]?\d{1,2})?", re.ASCII)


@dataclass(slots=True)
class Profiles:
    """All profiles there are. Asked by format, kind and the profile a device names."""

    by_name: Mapping[str, Profile] = field(default_factory=dict)
    _mappers: dict[tuple[str, str, str | None], Mapper | Rejected] = field(default_factory=dict, repr=False)

    def apply(
        self,
        codec: str,
        kind: str,
        profile: str | None,
        device: DeviceId,
        part: Telemetry | DeviceEvent | StatusChange | Reply,
        received_ms: int,
    ) -> Sequence[Decoded]:
        """The part as parts of `device`, never empty; its time settled: one that carries none has that of arrival."""
        ts_ms = part.ts_ms if part.ts_ms >= 0 else max(0, received_ms + part.ts_ms - AT_ARRIVAL_MS)
        if isinstance(part, StatusChange | Reply):
            return (replace(part, device=device, ts_ms=ts_ms),)
        mapper = self._mapper(codec, kind, profile)
        if isinstance(mapper, Rejected):
            return (replace(mapper, device=device, message_id=part.message_id),)
        timeless = part.ts_ms < 0
        part = replace(part, device=device, ts_ms=ts_ms)
        if isinstance(part, Telemetry):
            return mapper.telemetry(part, timeless)
        return mapper.event(part)

    def _mapper(self, codec: str, kind: str, profile: str | None) -> Mapper | Rejected:
        key = (codec, kind, profile)
        mapper = self._mappers.get(key)
        if mapper is None:
            mapper = self._mappers[key] = self._find(codec, kind, profile)
        return mapper

    def _find(self, codec: str, kind_name: str, name: str | None) -> Mapper | Rejected:
        kind = KINDS.get(kind_name)
        if kind is None:
            return Rejected(Reason.UNKNOWN_METRIC, f"the device's kind {kind_name} is not known to this version")
        if name is None:
            for profile in self.by_name.values():
                if profile.default and (profile.codec, profile.kind) == (codec, kind_name):
                    return Mapper.of(profile, kind)
            return Mapper.of(Profile(name="own-names", kind=kind_name, identity=True), kind)
        chosen = self.by_name.get(name)
        if chosen is None:
            words = f"the device is registered with the profile {name}, which does not exist"
        elif chosen.kind != kind_name:
            words = f"the device is a {kind_name}, its profile {name} is for a {chosen.kind}"
        elif chosen.codec is not None and chosen.codec != codec:
            words = f"the device speaks {codec}, its profile {name} is for {chosen.codec}"
        else:
            return Mapper.of(chosen, kind)
        return Rejected(Reason.MALFORMED, words)


@dataclass(frozen=True, slots=True)
class _Field:
    """A rule, ready to be used on numbers."""

    metric: Metric
    factor: float
    offset: float
    unit: str
    options: Mapping[str, Scalar]
    invert: bool

    @staticmethod
    def of(rule: FieldRule, metric: Metric) -> _Field:
        factor, offset = rule.scale, rule.offset
        if rule.unit is not None:
            factor, offset = conversion(rule.unit, metric.unit) or (1.0, 0.0)
        return _Field(metric, factor, offset, rule.unit or metric.unit, rule.options, rule.invert)

    def value(self, given: Any, unit: str | None) -> Any:
        """What stands for the metric; what cannot is left as it is, for the check to refuse it by name."""
        if self.options:
            given = self.options.get(_word(given), given)
        if self.metric.type is MetricType.SWITCH:
            return self._switch(given)
        if self.metric.type is MetricType.STATE:
            return given
        if type(given) is str and _DECIMAL.fullmatch(given.strip()):
            given = float(given)
        if type(given) is not int and type(given) is not float:
            return given
        factor, offset = self.factor, self.offset
        if unit is not None and unit != self.unit:
            converted = conversion(unit, self.metric.unit)
            if converted is None:
                return f"{given:g} {unit}"
            factor, offset = converted
        if factor == 1 and offset == 0:
            return given
        number = given * factor + offset
        return float(f"{number:.12g}") if math.isfinite(number) else str(given)

    def _switch(self, given: Any) -> Any:
        if type(given) is str and (word := _SWITCHED.get(given.lower())) is not None:
            given = word
        if given in (0, 1) and type(given) in (bool, int, float):
            return bool(given) is not self.invert
        return given


_SWITCHED = {"true": True, "false": False, "on": True, "off": False, "1": True, "0": False}


@dataclass(frozen=True, slots=True)
class Mapper:
    """One profile for one kind."""

    profile: Profile
    kind: DeviceKind
    fields: Mapping[str, _Field]
    own: Mapping[str, _Field]
    """The kind's own names, where the profile takes them."""
    events: Mapping[str, tuple[EventRule, ...]]
    ignore: re.Pattern[str] | None

    @staticmethod
    def of(profile: Profile, kind: DeviceKind) -> Mapper:
        metrics = {metric.name: metric for metric in kind.metrics}
        return Mapper(
            profile,
            kind,
            {name: _Field.of(rule, metrics[rule.metric]) for name, rule in profile.fields.items()},
            {name: _Field.of(FieldRule(metric=name), metric) for name, metric in metrics.items()}
            if profile.identity
            else {},
            profile.events,
            re.compile("|".join(f"(?:{glob(pattern)})" for pattern in profile.ignore)) if profile.ignore else None,
        )

    def telemetry(self, part: Telemetry, timeless: bool) -> Sequence[Decoded]:
        values: dict[str, Any] = {}
        fired: dict[str, None] = {}
        for name, given in part.values.items():
            rule, unit, watched = self._lookup(name)
            if rule is not None:
                values.setdefault(rule.metric.name, rule.value(given, unit))
            elif not watched and not self._ignored(name):
                values[self._stranger(name)] = given
            fired |= dict.fromkeys(event.event for event in watched if event.when is not None and _in(given, event))
        parts: list[Decoded] = [replace(part, values=values)] if values else []
        parts += [self._raised(part, event, values, timeless) for event in fired]
        # Nothing but what may be ignored: it lives. Said as a status, every message has one end in the ledger.
        return parts or [StatusChange(part.device, part.ts_ms, True, NO_SESSION)]

    def event(self, part: DeviceEvent) -> Sequence[Decoded]:
        names = [rule.event for rule in self.events.get(part.event, ()) if rule.when is None]
        if not names and self._ignored(part.event):
            return [StatusChange(part.device, part.ts_ms, True, NO_SESSION)]
        # An event that no profile knows goes on under its own name; the check refuses it if the kind has none such.
        return [
            replace(part, event=name, message_id=part.message_id or event_id(part.device, name, part.ts_ms))
            for name in names or [part.event]
        ]

    def _raised(self, part: Telemetry, event: str, values: Mapping[str, Any], timeless: bool) -> DeviceEvent:
        told = next(known.fields for known in self.kind.events if known.name == event)
        data = {name: values[name] for name in told if name in values}
        unique = event_id(part.device, event, part.ts_ms)
        if timeless and part.message_id is not None:
            unique = f"{event}:{part.message_id}"
        return DeviceEvent(part.device, part.ts_ms, event, data, unique)

    def _lookup(self, name: str) -> tuple[_Field | None, str | None, Sequence[EventRule]]:
        rule, watched = self.fields.get(name), self.events.get(name, ())
        if rule is not None or watched:
            return rule, None, watched
        unit = None
        if match := _UNIT.fullmatch(name):
            name, unit = match[1], match[2]
            rule, watched = self.fields.get(name), self.events.get(name, ())
        if rule is None and not watched and self.own:
            rule = self.own.get(name) or self.own.get(name.rpartition(".")[2])
        return rule, unit, watched

    def _ignored(self, name: str) -> bool:
        return self.ignore is not None and self.ignore.match(name) is not None

    def _stranger(self, name: str) -> str:
        """Under no name that the kind knows: the check quarantines it, whatever its value."""
        return f"{name} (of profile {self.profile.name})" if self.kind.position(name) is not None else name


def event_id(device: DeviceId, event: str, ts_ms: int) -> str:
    """Derived, not drawn: the same report makes the same event, however often it comes."""
    return f"{device}@{ts_ms}:{event}"


def _in(given: Any, rule: EventRule) -> bool:
    return any(_word(given) == _word(value) for value in rule.when or ())


def _word(value: Any) -> str:
    """A scalar as text, so that `true`, 1 and "1" of different vendors can be told apart or matched."""
    if type(value) is bool:
        return "true" if value else "false"
    if type(value) is float and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def check_all(profiles: Iterable[Profile]) -> None:
    """Two defaults for one format and kind would make a device's words depend on the order of files."""
    seen: dict[tuple[str, str], str] = {}
    for profile in profiles:
        if profile.default and profile.codec is not None:
            key = (profile.codec, profile.kind)
            if key in seen:
                raise ValueError(f"{seen[key]} and {profile.name} are both the default for {key[0]} and {key[1]}")
            seen[key] = profile.name


__all__ = ["NATIVE", "Mapper", "Profiles", "check_all", "event_id"]
