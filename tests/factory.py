"""A small whole community for anybody's tests, and the way into a database."""

from __future__ import annotations

from functools import cache
from typing import Any

import asyncpg
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from services.adapters.broker_identity import secret_hash
from services.adapters.registry import import_community
from services.domain.ids import CommunityId, DeviceId, PersonId
from services.domain.registry import (
    ELDER_LIVING_ALONE,
    FIRE_LANE,
    GATEWAY_KIND,
    WATER_ZONE,
    Account,
    Building,
    Community,
    Device,
    Household,
    Person,
    Place,
)
from services.domain.vocabulary import Role, Team

PASSWORD = "linhub-test-password"
"""Every account of a test community."""

_HOUSEHOLD_KINDS = ("water_meter", "gas_meter", "electricity_meter")
_OUTDOORS: tuple[tuple[str, frozenset[str]], ...] = (
    ("highthrow_camera", frozenset()),
    ("perimeter_camera", frozenset({WATER_ZONE})),
    ("ebike_camera", frozenset()),
    ("bin", frozenset()),
    ("parking_sensor", frozenset({FIRE_LANE})),
    ("parking_sensor", frozenset()),
    ("gate", frozenset()),
    ("manhole", frozenset()),
    ("lamp_post", frozenset()),
    ("environment", frozenset()),
    ("pv_inverter", frozenset()),
    ("charger", frozenset()),
    ("people_counter", frozenset()),
    ("tunnel_sensor", frozenset()),
    ("loudspeaker", frozenset()),
    ("siren", frozenset()),
    ("patrol_vehicle", frozenset()),
)


def secret_of(device: str) -> str:
    """The broker password of a device that `put_community` imported."""
    return f"secret-{device}"


def small_community(id: str = "test", prefix: str = "") -> Community:
    """One building of two units and four households; device ids are `{id}-{kind}-{n}`, n from 1.

    Household 1 is an elder living alone. Meters are behind `{id}-gateway-1`. The first parking sensor watches a fire
    lane, the perimeter camera the water. User names are global: give a second community another `prefix`.
    """
    grids = (Place(f"{id}-grid-1", "第一网格"), Place(f"{id}-grid-2", "第二网格"))
    building = Building(f"{id}-b1", f"{id}-c1", grids[0].id, "1号楼", 6, 20.0, 20.0, 40.0, 12.0)
    units = tuple(Place(f"{id}-b1-u{n}", f"{n}单元", building.id) for n in (1, 2))
    households = tuple(
        Household(f"{id}-h{n}", units[(n - 1) // 2].id, 1 + (n - 1) % 2, f"{1 + (n - 1) % 2}0{1 + (n - 1) % 2}")
        for n in range(1, 5)
    )
    elder = Person(
        PersonId(f"{id}-p1"),
        households[0].id,
        "王秀英",
        1941,
        frozenset({"elder", ELDER_LIVING_ALONE}),
        frozenset({"vitals", "location", "family"}),
    )
    others = tuple(
        Person(PersonId(f"{id}-p{n}"), households[n - 1].id, name, 1985)
        for n, name in ((2, "李伟"), (3, "张敏"), (4, "刘洋"))
    )
    return Community(
        id=CommunityId(id),
        name="测试社区",
        city="测试市",
        district="测试区",
        street="测试街道",
        latitude=29.7,
        longitude=116.0,
        plan={"width": 120.0, "height": 80.0, "shapes": [{"kind": "road", "points": [[0, 40], [120, 40]]}]},
        compounds=(Place(f"{id}-c1", "测试小区"),),
        grids=grids,
        buildings=(building,),
        units=units,
        households=households,
        people=(elder, *others),
        devices=tuple(_devices(id, building, households, elder)),
        accounts=_accounts(prefix, grids[0].id, households[1].id),
        registered_households=4,
        registered_residents=4,
    )


def _devices(id: str, building: Building, households: tuple[Household, ...], elder: Person) -> list[Device]:
    counts: dict[str, int] = {}

    def add(kind: str, home: Household | None = None, indoors: bool = False, **more: object) -> Device:
        counts[kind] = number = counts.get(kind, 0) + 1
        place = f"{building.name}{home.room}室" if home else building.name if indoors else f"户外{number}"
        device = Device(
            id=DeviceId(f"{id}-{kind}-{number}"),
            kind=kind,
            name=f"{kind} {number}",
            place=place,
            x=30.0 + number if home or indoors else 10.0 + 3 * len(counts),
            y=25.0 if home or indoors else 50.0,
            building_id=building.id if home or indoors else None,
            unit_id=home.unit_id if home else None,
            household_id=home.id if home else None,
            grid_id=building.grid_id,
            floor=home.floor if home else None,
            **more,  # type: ignore[arg-type]
        )
        devices.append(device)
        return device

    devices: list[Device] = []
    gateway = add(GATEWAY_KIND, indoors=True)
    for home in households:
        for kind in _HOUSEHOLD_KINDS:
            add(kind, home, gateway_id=gateway.id)
        add("gas_alarm", home)
    for _ in range(2):
        add("smoke_detector", indoors=True)
    for kind in ("wristband", "door_magnet", "sos_button"):
        add(kind, households[0], person_id=elder.id)
    for kind, tags in _OUTDOORS:
        add(kind, tags=tags)
    return devices


def _accounts(prefix: str, grid_id: str, household_id: str) -> tuple[Account, ...]:
    def account(name: str, role: Role, team: Team | None = None, **more: Any) -> Account:
        return Account(f"{prefix}{name}", f"{name} {prefix}".strip(), role, team, **more)

    return (
        account("admin", Role.ADMIN),
        account("desk", Role.DESK, Team.DESK),
        account("grid1", Role.GRID, Team.GRID, grid_id=grid_id),
        account("patrol1", Role.STAFF, Team.PATROL),
        account("maintenance1", Role.STAFF, Team.MAINTENANCE),
        account("cleaning1", Role.STAFF, Team.CLEANING),
        account("environment1", Role.STAFF, Team.ENVIRONMENT),
        account("general1", Role.STAFF, Team.GENERAL),
        account("street", Role.STREET, Team.STREET),
        account("resident1", Role.RESIDENT, household_id=household_id),
        account("platform", Role.PLATFORM),
    )


@cache
def _password_hash() -> str:
    cheap = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=1024, parallelism=1),))
    return cheap.hash(PASSWORD)


async def put_community(database_url: str, community: Community) -> None:
    """Imports the community; every password is PASSWORD, a device's secret is `secret_of(id)`."""
    connection = await asyncpg.connect(database_url)
    try:
        await import_community(
            connection,
            community,
            secret_hashes={d.id: secret_hash(secret_of(d.id)) for d in community.devices if d.gateway_id is None},
            password_hashes={account.username: _password_hash() for account in community.accounts},
        )
    finally:
        await connection.close()
