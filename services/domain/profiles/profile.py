"""The shape of a vendor profile, and everything that can be wrong with one."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from services.domain.devices import BY_NAME as KINDS
from services.domain.devices.kind import DeviceKind, Metric, MetricType
from services.domain.profiles.units import conversion, known

Scalar = bool | int | float | str
NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,63}$"


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class FieldRule(BaseModel):
    """How one vendor value becomes a metric: its `unit` (converted by itself), else value × scale + offset."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    metric: str
    unit: str | None = None
    scale: float = Field(default=1.0, allow_inf_nan=False)
    offset: float = Field(default=0.0, allow_inf_nan=False)
    options: dict[str, Scalar] = Field(default_factory=dict)
    """Vendor's word (or number, as text) → true, false, a number or an option's name."""
    invert: bool = False
    """Of a switch: the vendor says true where the metric is 0."""


class EventRule(BaseModel):
    """When a vendor value or a vendor event means an event of the kind. Without `when`: the vendor event itself."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    event: str
    when: Annotated[tuple[Scalar, ...] | None, BeforeValidator(lambda v: None if v is None else tuple(_listed(v)))] = (
        None
    )


Rules = Annotated[tuple[EventRule, ...], BeforeValidator(lambda value: tuple(_listed(value)))]


class Wrong(Exception):
    """What is wrong with a profile, and where: `path` are the keys that lead there."""

    def __init__(self, path: tuple[str, ...], words: str) -> None:
        super().__init__(words)
        self.path = path


class Profile(BaseModel):
    """One YAML file. `name` is the file's name; names are unique across folders."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = Field(pattern=NAME_PATTERN)
    kind: str
    codec: str | None = None
    """Whose field names these are; None: any format's."""
    default: bool = False
    """Used for devices of this kind that speak `codec` and name no profile."""
    title: str = ""
    source: str = ""
    """Where the vendor documents the names."""
    identity: bool = False
    """Values and events already named like the kind's own are taken as well."""
    fields: dict[str, FieldRule] = Field(default_factory=dict)
    events: dict[str, Rules] = Field(default_factory=dict)
    ignore: tuple[str, ...] = Field(default=(), strict=False)
    """Names that need not be kept, `*` for any characters."""

    @model_validator(mode="after")
    def _default_of_a_codec(self) -> Profile:
        if self.default and self.codec is None:
            raise ValueError("a default profile must name its codec")
        return self

    def check(self, codecs: frozenset[str]) -> None:
        """Against the catalogue and the formats there are. Raises Wrong for the first thing that does not fit."""
        kind = KINDS.get(self.kind)
        if kind is None:
            raise Wrong(("kind",), f"no device kind {self.kind!r}; there are: {', '.join(sorted(KINDS))}")
        if self.codec is not None and self.codec not in codecs:
            raise Wrong(("codec",), f"no format {self.codec!r}; there are: {', '.join(sorted(codecs))}")
        for name, rule in self.fields.items():
            _check_field(kind, name, rule)
        known_events = {event.name for event in kind.events}
        for name, rules in self.events.items():
            for event in rules:
                if event.event not in known_events:
                    there = ", ".join(sorted(known_events)) or "none"
                    raise Wrong(("events", name), f"a {kind.name} has no event {event.event!r}; it has: {there}")
        for pattern in self.ignore:
            if pattern in self.fields or pattern in self.events:
                raise Wrong(("ignore",), f"{pattern!r} is ignored and used at once")


def _check_field(kind: DeviceKind, name: str, rule: FieldRule) -> None:
    path = ("fields", name)
    metric = next((metric for metric in kind.metrics if metric.name == rule.metric), None)
    if metric is None:
        there = ", ".join(metric.name for metric in kind.metrics) or "none"
        raise Wrong(path, f"a {kind.name} has no metric {rule.metric!r}; it has: {there}")
    if rule.unit is not None:
        if not known(rule.unit):
            raise Wrong(path, f"unit {rule.unit!r} is not known; give scale and offset instead")
        if conversion(rule.unit, metric.unit) is None:
            raise Wrong(path, f"{rule.unit!r} cannot become {metric.unit!r}, the unit of {metric.name}")
        if rule.scale != 1 or rule.offset != 0:
            raise Wrong(path, "give either unit or scale and offset, not both")
    if rule.scale == 0:
        raise Wrong(path, "scale 0 makes every value the same")
    if metric.type in (MetricType.SWITCH, MetricType.STATE) and (rule.unit or rule.scale != 1 or rule.offset):
        raise Wrong(path, f"{metric.name} is no measured number; use options")
    if rule.invert and metric.type is not MetricType.SWITCH:
        raise Wrong(path, f"invert is for switches; {metric.name} is a {metric.type.value}")
    for word, value in rule.options.items():
        if not _fits(metric, value):
            raise Wrong((*path, "options", word), f"{value!r} is no value of {metric.name}{_there(metric)}")


def _fits(metric: Metric, value: Scalar) -> bool:
    if metric.type is MetricType.SWITCH:
        return isinstance(value, bool) or value in (0, 1)
    if metric.type is MetricType.STATE:
        return value in metric.options
    return isinstance(value, int | float) and not isinstance(value, bool) and metric.low <= value <= metric.high


def _there(metric: Metric) -> str:
    return f"; it is one of {', '.join(metric.options)}" if metric.options else ""
