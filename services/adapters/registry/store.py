"""Writes a community into the registry in one transaction, and reads devices back for those who keep them in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import asyncpg

from services.adapters.queries import Queries
from services.domain.devices import BY_NAME
from services.domain.ids import CommunityId, DeviceId, partition_of
from services.domain.registered import CommunityRow, DeviceRow
from services.domain.registry import Account, Community, Device
from services.domain.vocabulary import Role

Q = Queries.beside(__file__)


class RegistryError(Exception):
    """The document contradicts the catalogue, itself or another community; nothing was written."""


async def load_devices(connection: asyncpg.Connection[Any], partitions: Sequence[int] | None = None) -> list[DeviceRow]:
    """All devices, the retired too, of these partitions (None: of all), by device number."""
    rows = await connection.fetch(Q["load_devices"], None if partitions is None else list(partitions))
    shared: dict[Any, Any] = {}
    return [DeviceRow(**{name: _shared(shared, value) for name, value in row.items()}) for row in rows]


def _shared(known: dict[Any, Any], value: Any) -> Any:
    """One object for all that are equal: hundreds of thousands of devices name the same buildings, kinds and tags."""
    if isinstance(value, list):
        value = frozenset(value)
    return known.setdefault(value, value) if isinstance(value, str | frozenset) else value


async def load_communities(
    connection: asyncpg.Connection[Any], partitions: Sequence[int] | None = None
) -> list[CommunityRow]:
    """The communities of these partitions (None: all): where they lie and which clock they live by."""
    rows = await connection.fetch(Q["load_communities"], None if partitions is None else list(partitions))
    return [CommunityRow(**row) for row in rows]


async def import_community(
    connection: asyncpg.Connection[Any],
    community: Community,
    *,
    secret_hashes: Mapping[DeviceId, str],
    password_hashes: Mapping[str, str],
) -> None:
    """Makes the registry equal to the document, in one transaction; doing it again changes nothing.

    A device that left the document is retired and its credential revoked; a place or person that left is deleted.
    Accounts are only added or updated, never removed, and an account without a password hash is left out.
    Raises RegistryError when a kind is unknown, or an id already belongs to another community.
    """
    devices = [_device(device) for device in community.devices]
    street = _street_id(community)
    accounts = [
        _account(account, community.id, street, password_hashes[account.username])
        for account in community.accounts
        if account.username in password_hashes
    ]
    async with connection.transaction():
        await _refuse_foreign(connection, community)
        await connection.execute(Q["upsert_street"], street, community.city, community.district, community.street)
        stored = await connection.fetchval(
            Q["upsert_community"],
            community.id,
            street,
            community.name,
            partition_of(community.id),
            community.latitude,
            community.longitude,
            community.registered_households or len(community.households),
            community.registered_residents or len(community.people),
            json.dumps(community.plan),
        )
        if stored != partition_of(community.id):
            raise RegistryError(f"{community.id} is in partition {stored}; moving it would lose its log order")
        await _places(connection, community)
        await connection.execute(Q["add_consents"], community.id, json.dumps(_consents(community)))
        await connection.execute(Q["upsert_devices"], community.id, json.dumps(devices))
        await connection.execute(Q["bind_gateways"], community.id, json.dumps(devices))
        await connection.execute(Q["retire_devices"], community.id, [device.id for device in community.devices])
        await connection.execute(
            Q["upsert_credentials"], community.id, list(secret_hashes.keys()), list(secret_hashes.values())
        )
        await connection.execute(Q["revoke_credentials"], community.id)
        await connection.execute(Q["upsert_accounts"], json.dumps(accounts))


async def _refuse_foreign(connection: asyncpg.Connection[Any], community: Community) -> None:
    """Ids and user names are unique across communities; taking one over in silence would move people's data."""
    ids = [device.id for device in community.devices]
    names = [account.username for account in community.accounts]
    taken = [row["id"] for row in await connection.fetch(Q["foreign_devices"], community.id, ids)]
    taken += [row["username"] for row in await connection.fetch(Q["foreign_accounts"], community.id, names)]
    if taken:
        raise RegistryError(f"already belongs to another community: {', '.join(taken)}")


async def _places(connection: asyncpg.Connection[Any], community: Community) -> None:
    people = [{**asdict(one), "tags": sorted(one.tags), "consents": sorted(one.consents)} for one in community.people]
    upserts: tuple[tuple[str, list[dict[str, Any]]], ...] = (
        ("compounds", _plain(community.compounds)),
        ("grids", _plain(community.grids)),
        ("buildings", _plain(community.buildings)),
        ("units", _plain(community.units)),
        ("households", _plain(community.households)),
        ("people", people),
    )
    for name, rows in upserts:
        await connection.execute(Q[f"upsert_{name}"], community.id, json.dumps(rows))
    for name, rows in reversed(upserts):
        await connection.execute(Q[f"delete_{name}"], community.id, [row["id"] for row in rows])


def _consents(community: Community) -> list[dict[str, str]]:
    return [{"person_id": one.id, "what": what} for one in community.people for what in sorted(one.consents)]


def _plain(rows: Iterable[Any]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


def _device(device: Device) -> dict[str, Any]:
    kind = BY_NAME.get(device.kind)
    if kind is None:
        raise RegistryError(f"{device.id}: the catalogue has no kind {device.kind}")
    return {**asdict(device), "tags": sorted(device.tags), "interval_s": device.interval_s or kind.interval_s}


def _account(account: Account, community: CommunityId, street: str, password_hash: str) -> dict[str, Any]:
    """Whose data the account may reach: the administrator's is the whole installation, a street office's its street."""
    everywhere = account.role is Role.ADMIN
    street_wide = account.role is Role.STREET
    return {
        "id": f"user-{account.username}",
        "username": account.username,
        "password_hash": password_hash,
        "display_name": account.display_name,
        "role": account.role,
        "team": account.team,
        "community_id": None if everywhere or street_wide else community,
        "street_id": street if street_wide else None,
        "grid_id": account.grid_id,
        "household_id": account.household_id,
        "leads": account.leads,
        "skills": sorted(account.skills),
    }


def _street_id(community: Community) -> str:
    """The same words give the same street, so communities of one street share it."""
    words = f"{community.city}|{community.district}|{community.street}"
    return "street-" + hashlib.sha256(words.encode()).hexdigest()[:12]
