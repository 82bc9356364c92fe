"""A device as a row of a list says it: what may stand there, and every fault of it with its line."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from services.adapters.profiles import load as load_profiles
from services.adapters.registry.provision import Fault, NewDevice
from services.domain import codecs
from services.domain.devices import BY_NAME as KINDS
from services.domain.ids import ID_PATTERN, CommunityId, DeviceId
from services.domain.profiles.mapper import Profiles

SERVICE_PREFIX = "svc-"
MAX_TEXT = 200


def _blank(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _tags(value: Any) -> Any:
    return [tag for tag in value.replace(";", " ").split() if tag] if isinstance(value, str) else value


_Id = Annotated[str, Field(pattern=ID_PATTERN)]
_Ref = Annotated[Annotated[str, Field(max_length=MAX_TEXT)] | None, BeforeValidator(_blank)]
_Text = Annotated[str, Field(max_length=MAX_TEXT)]


class Row(BaseModel):
    """What a row may say. Numbers may be written as text, as CSV does."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, coerce_numbers_to_str=True)

    id: _Id
    community: _Id
    kind: Annotated[str, Field(max_length=64)]
    name: _Text = ""
    place: _Text = ""
    gateway: Annotated[_Id | None, BeforeValidator(_blank)] = None
    building: _Ref = None
    unit: _Ref = None
    household: _Ref = None
    grid: _Ref = None
    floor: Annotated[Annotated[int, Field(ge=-20, le=300)] | None, BeforeValidator(_blank)] = None
    x: Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(_blank)] = None
    y: Annotated[Annotated[float, Field(allow_inf_nan=False)] | None, BeforeValidator(_blank)] = None
    interval_s: Annotated[Annotated[int, Field(ge=1, le=366 * 86400)] | None, BeforeValidator(_blank)] = None
    tags: Annotated[list[Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,64}$")]], BeforeValidator(_tags)] = []
    codec: Annotated[str | None, BeforeValidator(_blank)] = None
    address: _Ref = None
    profile: _Ref = None


COLUMNS = tuple(Row.model_fields)


@cache
def _own_profiles() -> Profiles:
    return load_profiles()


def device_of(
    line: int, said: Mapping[str, Any], faults: list[Fault], profiles: Profiles | None = None
) -> NewDevice | None:
    """The row as a device, or None with everything that is wrong with it added to `faults`.

    `profiles`: the vendor profiles there are; LinHub's own where not given. Whether one fits the format shows only with
    all rows read: behind a gateway it is the gateway's format.
    """
    before = len(faults)
    try:
        row = Row.model_validate(said)
    except ValidationError as error:
        for one in error.errors(include_url=False):
            where = ".".join(str(part) for part in one["loc"])
            faults.append(_fault(line, where, one))
        return None
    if row.id.startswith(SERVICE_PREFIX):
        faults.append(Fault(line, "service_name", row.id))
    kind = KINDS.get(row.kind)
    if kind is None:
        faults.append(Fault(line, "no_kind", row.kind, ", ".join(sorted(KINDS))))
    if row.codec is not None and row.codec not in codecs.BY_NAME:
        faults.append(Fault(line, "no_codec", row.codec, ", ".join(sorted(codecs.BY_NAME))))
    if row.profile is not None:
        known = profiles or _own_profiles()
        profile = known.by_name.get(row.profile)
        if profile is None:
            faults.append(Fault(line, "no_profile", row.profile, ", ".join(sorted(known.by_name))))
        elif kind is not None and profile.kind != kind.name:
            faults.append(Fault(line, "profile_kind", row.profile, f"{profile.kind}, {kind.name}"))
    if kind is None or len(faults) > before:
        return None
    return NewDevice(
        line=line,
        id=DeviceId(row.id),
        community_id=CommunityId(row.community),
        kind=row.kind,
        name=row.name or f"{kind.label.zh} {row.id}",
        place=row.place,
        gateway_id=row.gateway,
        building_id=row.building,
        unit_id=row.unit,
        household_id=row.household,
        grid_id=row.grid,
        floor=row.floor,
        x=row.x or 0.0,
        y=row.y or 0.0,
        interval_s=row.interval_s or kind.interval_s,
        tags=sorted(set(row.tags)),
        codec=row.codec or "native",
        address=row.address,
        profile=row.profile,
    )


def _fault(line: int, where: str, error: Any) -> Fault:
    kind = error["type"]
    if kind == "extra_forbidden":
        return Fault(line, "no_column", where, ", ".join(COLUMNS))
    if kind == "missing":
        return Fault(line, "missing", where)
    if kind == "string_pattern_mismatch":
        return Fault(line, "bad_id", f"{where}: {error['input']}")
    return Fault(line, "bad_value", f"{where}: {str(error['input'])[:60]}", str(error["msg"]))
