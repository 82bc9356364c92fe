"""A community goes into the registry whole, twice the same, and comes back as the services hold it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from services.adapters.registry import RegistryError, import_community, load_communities, load_devices
from services.domain.ids import CommunityId, DeviceId, partition_of
from services.domain.registry import ELDER_LIVING_ALONE, FIRE_LANE, GATEWAY_KIND, Community
from tests.factory import put_community, small_community


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def _import(connection: asyncpg.Connection[Any], community: Community) -> None:
    await import_community(
        connection,
        community,
        secret_hashes={device.id: "$7$1$a$b" for device in community.devices},
        password_hashes={account.username: "hash" for account in community.accounts},
    )


async def test_registry_import_brings_every_device_with_its_gateway_and_tags(
    database_url: str, connection: asyncpg.Connection[Any]
) -> None:
    community = small_community("imp")
    await put_community(database_url, community)
    rows = {row.id: row for row in await load_devices(connection)}
    assert set(rows) == {device.id for device in community.devices}
    gateway = next(row for row in rows.values() if row.kind == GATEWAY_KIND)
    for device in community.devices:
        row = rows[device.id]
        assert row.gateway_no == (gateway.device_no if device.gateway_id else None)
        assert (row.kind, row.tags, row.partition) == (device.kind, device.tags, partition_of(community.id))
        assert row.interval_s > 0
    band = next(row for row in rows.values() if row.kind == "wristband")
    assert ELDER_LIVING_ALONE in band.person_tags
    assert sum(FIRE_LANE in row.tags for row in rows.values()) == 1
    assert rows[DeviceId("imp-water_meter-3")].person_tags == frozenset()


async def test_registry_import_again_keeps_numbers_and_changes_nothing(connection: asyncpg.Connection[Any]) -> None:
    community = small_community("imp")
    await _import(connection, community)
    before = await load_devices(connection)
    await _import(connection, community)
    assert await load_devices(connection) == before
    assert await connection.fetchval("SELECT count(*) FROM app_user") == len(community.accounts)


async def test_registry_import_retires_a_device_that_left_and_revokes_its_credential(
    connection: asyncpg.Connection[Any],
) -> None:
    community = small_community("imp")
    await _import(connection, community)
    gone = community.devices[-1]
    await _import(connection, replace(community, devices=community.devices[:-1]))
    rows = {row.id: row for row in await load_devices(connection)}
    assert [row.id for row in rows.values() if row.retired] == [gone.id]
    revoked = await connection.fetchval(
        "SELECT revoked_at IS NOT NULL FROM device_credential WHERE device_no = $1", rows[gone.id].device_no
    )
    assert revoked
    await _import(connection, community)
    assert not any(row.retired for row in await load_devices(connection))


async def test_registry_import_refuses_ids_of_another_community(connection: asyncpg.Connection[Any]) -> None:
    first = small_community("imp")
    await _import(connection, first)
    thief = replace(small_community("other", prefix="o-"), devices=first.devices)
    with pytest.raises(RegistryError, match="imp-bin-1"):
        await _import(connection, thief)
    with pytest.raises(RegistryError, match="cleaning1"):
        await _import(connection, small_community("other"))
    assert [row.id for row in await load_communities(connection)] == ["imp"]


async def test_registry_import_refuses_a_kind_outside_the_catalogue(connection: asyncpg.Connection[Any]) -> None:
    community = small_community("imp")
    odd = replace(community.devices[0], kind="teapot")
    with pytest.raises(RegistryError, match="teapot"):
        await _import(connection, replace(community, devices=(odd,)))


async def test_registry_load_devices_reads_only_the_partitions_asked_for(connection: asyncpg.Connection[Any]) -> None:
    names = ("imp", "other", "third")
    for name in names:
        await _import(connection, small_community(name, prefix=f"{name}-"))
    wanted = partition_of(CommunityId("other"))
    rows = await load_devices(connection, [wanted])
    expected = {name for name in names if partition_of(CommunityId(name)) == wanted}
    assert {row.community_id for row in rows} == expected
