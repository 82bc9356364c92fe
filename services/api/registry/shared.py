"""What the routes of the registry share: faults as problems, versions held against, keys, devices written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from services.adapters.profiles import load as load_profiles
from services.adapters.registry import editing, provision
from services.adapters.registry.device_rows import device_of
from services.adapters.registry.places import E, Standing
from services.adapters.registry.provision import Fault, Faulty, NewDevice, Secret
from services.adapters.registry.sheets import CellFault, cell_faults, said_of
from services.api.answers.models import LabelOut
from services.api.common import once
from services.api.registry.models import RegisteredDevice, SecretOut
from services.api.store.database import Connection
from services.api.store.tenancy import SERVICE
from services.api.web.preconditions import etag
from services.api.web.problems import ApiError, not_found
from services.domain.access import Principal
from services.domain.profiles.mapper import Profiles

Row = Mapping[str, Any]
SHOWN = 50
REGISTRAR = SERVICE
"""As whom the registry is written: names are one for the whole installation, so whether one is free cannot be asked
within a scope, and streets and communities are nobody's rows. Every route asks for its community first."""


@cache
def profiles(folder: Path | None) -> Profiles:
    """Those that ingest uses, told where ingest is told."""
    return load_profiles(folder)


def refused(faults: Sequence[CellFault]) -> ApiError:
    """422 naming every fault with its field."""
    first = faults[0].words
    more = f" (+{len(faults) - 1})" if len(faults) > 1 else ""
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"{first.zh} · {first.en}{more}",
        errors=[
            {"line": one.line, "where": one.column, "zh": one.words.zh, "en": one.words.en} for one in faults[:SHOWN]
        ],
    )


def refused_faults(faults: Iterable[Fault]) -> ApiError:
    return refused(cell_faults(faults))


def occupied(standing: Sequence[Standing]) -> ApiError:
    """409: something stands on it."""
    words = [one.words for one in standing]
    zh = "；".join(one.zh for one in words[:5])
    en = "; ".join(one.en for one in words[:5])
    return ApiError(
        HTTPStatus.CONFLICT,
        f"不能删除，仍有：{zh}。请先移走 · it cannot be removed, on it stand {en}; move these first",
        errors=[
            {"where": one.place, "what": one.what, "count": one.count, "names": list(one.names)} for one in standing
        ],
    )


def outdated(stale: Sequence[tuple[str, int]]) -> ApiError:
    """412: somebody changed these meanwhile. One: its version is the ETag."""
    names = ", ".join(id for id, _ in stale[:5])
    return ApiError(
        HTTPStatus.PRECONDITION_FAILED,
        f"他人已先修改（{names}），请重新载入后再改 · somebody changed {names} meanwhile; load again, then change",
        headers=etag(stale[0][1]) if len(stale) == 1 else None,
        errors=[{"where": id, "version": version} for id, version in stale[:SHOWN]],
    )


async def same_as_before(
    connection: Connection, who: Principal, community_id: str, key: str | None, body: str
) -> str | None:
    """What this Idempotency-Key has made already. Raises ApiError 400 without a key, 409 for another wish."""
    found = await editing.made_before(connection, community_id, who.id, once(key))
    if found is None:
        return None
    if found[0] != _digest(body):
        raise ApiError(
            HTTPStatus.CONFLICT,
            "此 Idempotency-Key 已用于其他内容 · this Idempotency-Key has made something else; take a new one",
        )
    return found[1]


async def remember(
    connection: Connection, who: Principal, community_id: str, key: str | None, body: str, subject: str
) -> None:
    await editing.remember_made(connection, community_id, who.id, once(key), _digest(body), subject)


def _digest(body: str) -> bytes:
    return hashlib.sha256(body.encode()).digest()


def device_out(row: Row) -> RegisteredDevice:
    return RegisteredDevice(
        **{
            **{name: row[name] for name in RegisteredDevice.model_fields},
            **{"x": round(row["x"], 2), "y": round(row["y"], 2)},
        }
    )


def secret_out(secret: Secret) -> SecretOut:
    return SecretOut(id=secret.id, name=secret.name, place=secret.place, secret=secret.secret)


def said(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What a body names, in the words of a row."""
    out: dict[str, Any] = {}
    for name, value in fields.items():
        if name == "person_id":
            continue
        out[name.removesuffix("_id") if name != "id" else name] = (
            " ".join(value) if name == "tags" and value is not None else "" if value is None else value
        )
    return out


async def locked(connection: Connection, community_id: str, seen: Mapping[str, int]) -> dict[str, Row]:
    """The devices as they stand, held to the end of the transaction. `seen`: the versions the asker has seen.

    Raises ApiError 404 and 412.
    """
    ids = sorted(seen)
    versions = {row["id"]: row["version"] for row in await connection.fetch(E["lock_devices"], community_id, ids)}
    for id in ids:
        if id not in versions:
            raise not_found("device", id)
    if stale := [(id, versions[id]) for id in ids if versions[id] != seen[id]]:
        raise outdated(stale)
    return await editing.devices_by_id(connection, community_id, ids)


async def write_devices(
    connection: Connection,
    who: Principal,
    community_id: str,
    wishes: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, Row],
    folder: Path | None,
) -> list[Secret]:
    """Puts what the wishes say over what is known, checks it whole and writes it. Raises ApiError 422."""
    faults: list[Fault] = []
    devices: list[NewDevice] = []
    for line, (id, wish) in enumerate(wishes.items()):
        before = said_of(known[id]) if id in known else {"id": id, "community": community_id}
        device = device_of(line, {**before, **said(wish)}, faults, profiles(folder))
        if device is not None:
            devices.append(device)
    secrets: list[Secret] = []
    try:
        await provision.provision(
            connection,
            editing.each(devices),
            secrets.extend,
            actor=who.id,
            only_new=not known,
            faults=lambda: faults,
            profiles=profiles(folder),
            strict=True,
            audited=False,
        )
        people = {id: wish["person_id"] or None for id, wish in wishes.items() if "person_id" in wish}
        if people:
            await editing.bind_people(connection, community_id, people)
    except Faulty as faulty:
        raise refused_faults(faulty.faults) from None
    return secrets


def label_out(words: Any) -> LabelOut:
    return LabelOut(zh=words.zh, en=words.en)
