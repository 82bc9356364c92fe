"""Every operation of the published schema × everybody who may ask × whose thing it is: no cell leaks.

A leak is an answer that succeeds where it must not, or any answer at all in whose bytes stands what belongs to others:
their names, telephone numbers, words, vital signs. What is asked for is generated from the schema, so a new operation
is in the matrix the day it is published; one whose path names something that nothing is prepared for fails here.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import pytest
import structlog
from fastapi import APIRouter

from services.api.app import create_app
from services.api.main import compose
from services.api.settings import ApiSettings
from services.domain.access import Permission, allowed
from services.domain.vocabulary import Role
from tests.access_kit import key, service, with_key
from tests.api_data import raise_alert, set_state
from tests.api_server import KEY, api_server, client, connect
from tests.integration.test_api_access import ROUTES, ask, populate

PLACES = ("neighbour", "other", "own")
"""Whose thing is asked for: of another household here, of another community, one's own household's. Own comes last:
what is deleted there is gone."""
HOMES = {"own": ("test", "test-h2"), "neighbour": ("test", "test-h3"), "other": ("other", "other-h2")}
VITAL = {"test": 173.625, "other": 171.375}
"""Heart rates that nothing else could be."""
SECRET_LINKS = {"token", "type_name"}
"""Whoever has the link may follow it: there is nothing to be guessed. And what is published, of nobody."""
OF_A_HOME = {"person_id", "contact_id", "report_id", "photo_id", "evidence_id", "alert_id", "device_id", "order_id"}


def mark(place: str) -> str:
    return f"Mk{place.capitalize()}Zz"


@dataclass(frozen=True, slots=True)
class Asker:
    """`blind`: marks that must stand in nothing that is answered."""

    name: str
    role: Role | None
    reaches: frozenset[str]
    blind: frozenset[str]
    scopes: frozenset[Permission] | None = None

    def may(self, permission: Permission) -> bool:
        if permission is Permission.ANYONE:
            return True
        if self.role is None:
            return False
        return allowed(self.role, permission) and (self.scopes is None or permission in self.scopes)


@dataclass(slots=True)
class Tally:
    cells: int = 0
    answered: int = 0
    leaks: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


ALL_MARKS = frozenset(mark(place) for place in PLACES)
HEARTS = frozenset(str(value) for value in VITAL.values())
HOME = frozenset({"own", "neighbour"})


def _asker(
    name: str, role: Role | None, reaches: frozenset[str], sees: frozenset[str], **more: frozenset[Permission]
) -> Asker:
    return Asker(name, role, reaches, (ALL_MARKS | HEARTS) - sees, **more)


OWN, NEAR, FAR = (frozenset({mark(place)}) for place in ("own", "neighbour", "other"))
HEART = frozenset({str(VITAL["test"])})
NOTHING: frozenset[str] = frozenset()
ASKERS = (
    _asker("nobody", None, NOTHING, NOTHING),
    _asker("resident1", Role.RESIDENT, frozenset({"own"}), OWN),
    _asker("neighbour", Role.RESIDENT, frozenset({"neighbour"}), NEAR),
    _asker("merchant", Role.MERCHANT, HOME, NOTHING),
    _asker("visitor", Role.VISITOR, HOME, NOTHING),
    _asker("display", Role.DISPLAY, HOME, NOTHING),
    _asker("platform", Role.PLATFORM, HOME, NOTHING),
    _asker("key", Role.DESK, HOME, NOTHING, scopes=frozenset({Permission.DEVICES, Permission.ALERTS})),
    _asker("patrol1", Role.STAFF, HOME, OWN | NEAR),
    _asker("grid2", Role.GRID, HOME, OWN | NEAR),
    _asker("grid1", Role.GRID, HOME, OWN | NEAR | HEART),
    _asker("street", Role.STREET, HOME, OWN | NEAR),
    _asker("desk", Role.DESK, HOME, OWN | NEAR | HEART),
    _asker("here", Role.ADMIN, HOME, OWN | NEAR | HEART),
)


def operations() -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """(method, path below the prefix, its parameters) of everything that is published."""
    settings = ApiSettings(database_url="postgresql://nowhere", secret_key=KEY)
    for path, item in create_app(compose(settings), lambda: None).openapi()["paths"].items():
        for method in item:
            yield method.upper(), path.removeprefix("/api/v1"), tuple(re.findall(r"\{(\w+)\}", path))


def unprepared(prepared: dict[str, dict[str, str]], wanted: Sequence[tuple[str, str, tuple[str, ...]]]) -> list[str]:
    """Operations that the matrix cannot ask, or whose permission nobody has decided."""
    wrong = []
    for method, path, names in wanted:
        lacking = [name for name in names if any(name not in prepared[place] for place in PLACES)]
        wrong += [f"{method} {path}: prepare something for {{{name}}}" for name in lacking]
        if (method, path) not in ROUTES:
            wrong.append(f"{method} {path}: name its permission in ROUTES")
    return wrong


async def _homes(database_url: str) -> dict[str, dict[str, str]]:
    """Three homes with a person, a contact, a report and an alert each; every text of theirs says whose they are."""
    there = await populate(database_url)
    connection = await connect(database_url)
    prepared = {}
    await connection.execute(
        "UPDATE app_user SET community_id = 'test' WHERE username IN ('platform', 'desk', 'street', 'display')"
    )
    for name, like, change in (
        ("neighbour", "resident1", "household_id = 'test-h3'"),
        ("grid2", "grid1", "grid_id = 'test-grid-2'"),
        ("here", "desk", "role = 'admin', team = NULL"),
    ):
        await connection.execute(
            "INSERT INTO app_user (id, username, password_hash, display_name, role, team, community_id, grid_id,"
            " household_id) SELECT 'user-' || $1, $1, password_hash, $1, role, team, 'test', grid_id, household_id"
            " FROM app_user WHERE username = $2",
            name,
            like,
        )
        await connection.execute(f"UPDATE app_user SET {change} WHERE username = $1", name)
    for place, (community, home) in HOMES.items():
        text, person = mark(place), home.replace("-h", "-p")
        await connection.execute(
            "UPDATE person SET name = $2 || '人', phone = $2 || '电话' WHERE id = $1", person, text
        )
        contact, report = str(uuid4()), str(uuid4())
        await connection.execute(
            "INSERT INTO person_contact (id, community_id, person_id, name, relation, created_by) "
            "VALUES ($1, $2, $3, $4 || '联系人', '女儿', 'desk')",
            contact, community, person, text,
        )  # fmt: skip
        device = await connection.fetchval("SELECT id FROM device WHERE household_id = $1 AND kind = 'gas_alarm'", home)
        alert, order = await raise_alert(connection, device)
        reporter = {"own": "user-resident1", "neighbour": "user-neighbour", "other": "user-o-resident1"}[place]
        await connection.execute(
            "INSERT INTO resident_report (id, community_id, order_id, category, text, household_id, reporter_id,"
            " contact_name, contact_phone, created_at, idempotency_key, digest)"
            " VALUES ($1, $2, $3, 'noise', $4::text || '话', $5, $6, $4 || '人', $4 || '电话', now(),"
            " $4, sha256('x'))",
            report, community, order, text, home, reporter,
        )  # fmt: skip
        prepared[place] = there[community] | {
            "person_id": person, "contact_id": contact, "report_id": report, "device_id": device,
            "alert_id": str(alert), "order_id": str(order), "account_id": there[community]["account_id"],
        }  # fmt: skip
    for community, value in VITAL.items():
        await set_state(connection, f"{community}-wristband-1", heart_rate=value)
    # What is asked for by its device shows vitals too: the wristband, in the first home of each community.
    await connection.close()
    return prepared


async def _cell(
    http: httpx.AsyncClient, who: Asker, method: str, path: str, place: str, things: dict[str, str], tally: Tally
) -> None:
    names = set(re.findall(r"\{(\w+)\}", path))
    status, text = await ask(http, method, path.format(**things), things["order_id"])
    permission = ROUTES[method, path]
    tally.cells += 1
    tally.answered += status < 300
    where = f"{who.name} {place} {method} {path}: {status}"
    if status >= 500:
        tally.failures.append(where)
    if status < 300 and not who.may(permission):
        tally.leaks.append(f"{where}, without the permission")
    bound = names - SECRET_LINKS and place not in who.reaches
    if who.role is Role.RESIDENT and place != "other":
        # Of one's own community everything that is not of a home is everybody's.
        bound = names & OF_A_HOME and place not in who.reaches
    if who.role is None:
        bound = False
    if status < 300 and bound:
        tally.leaks.append(f"{where}, out of reach")
    for one in who.blind:
        if one in text:
            tally.leaks.append(f"{where}: shows {one}")


async def test_matrix_of_every_operation_and_everybody_leaks_nothing(database_url: str) -> None:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        prepared = await _homes(database_url)
        wanted = list(operations())
        assert unprepared(prepared, wanted) == []
        tally = Tally()
        async with api_server(database_url, auth_requests_per_min=6000, heartbeat_s=60, query_timeout_s=60) as url:
            for who in ASKERS:
                async with AsyncExitStack() as stack:
                    http = await _login(stack, url, who)
                    for place in PLACES:
                        asked = [
                            (method, path)
                            for method, path, names in wanted
                            if (place == "own" or (names and who.may(ROUTES[method, path])))
                            and not path.startswith("/auth/")
                            and "/displays/me/" not in path
                        ]
                        for begin in range(0, len(asked), 8):
                            await asyncio.gather(
                                *(
                                    _cell(http, who, method, path, place, prepared[place], tally)
                                    for method, path in asked[begin : begin + 8]
                                )
                            )
    finally:
        structlog.configure(**before)
    sys.stdout.write(f"matrix: {tally.cells} cells, {tally.answered} answered, {len(tally.leaks)} leaks\n")
    assert tally.leaks == [] and tally.failures == []
    assert tally.answered > 300 and tally.cells > 3000


async def _login(stack: AsyncExitStack, url: str, who: Asker) -> httpx.AsyncClient:
    if who.name == "key":
        assert who.scopes is not None
        admin = await stack.enter_async_context(client(url, "admin"))
        account = await service(admin, "desk", community_id="test")
        made = await key(admin, account, scopes=sorted(who.scopes), per_minute=100_000)
        return await stack.enter_async_context(with_key(url, made["secret"]))
    return await stack.enter_async_context(client(url, None if who.role is None else who.name))


def test_matrix_notices_an_operation_that_nothing_is_prepared_for() -> None:
    prepared = {place: {"community_id": "test"} for place in PLACES}
    router = APIRouter()
    router.add_api_route("/communities/{community_id}/diaries/{diary_id}", lambda: None)
    wanted = [("GET", "/communities/{community_id}/diaries/{diary_id}", ("community_id", "diary_id"))]
    assert unprepared(prepared, wanted) == [
        "GET /communities/{community_id}/diaries/{diary_id}: prepare something for {diary_id}",
        "GET /communities/{community_id}/diaries/{diary_id}: name its permission in ROUTES",
    ]


@pytest.mark.parametrize("role", list(Role))
def test_matrix_asks_as_every_role(role: Role) -> None:
    assert any(who.role is role for who in ASKERS)
