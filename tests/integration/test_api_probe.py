"""Every published GET, with real things, as everybody: it answers, whole, as it was promised."""

from __future__ import annotations

import asyncio
import csv
import io
import logging
import re
import sys
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import structlog
from jsonschema import Draft202012Validator

from services.api.app import create_app
from services.api.main import compose
from services.api.settings import ApiSettings
from tests.api_server import KEY, client
from tests.probe_kit import TOKEN, C, World, once, said, seen, served

ACCOUNTS = (
    "admin", "desk", "grid1", "patrol1", "street", "resident1", "platform", "merchant", "visitor",
)  # fmt: skip
ASKERS = (*ACCOUNTS, "display", "key", "city", "nobody")
P = "/communities/{community_id}"
ELSEWHERE = {"/auth/oidc/start", "/auth/oidc/callback"}
"""Answered with a redirect to a provider, which is not there: tests/integration/test_api_oidc.py."""
BARE = {
    *(f"{P}/{name}" for name in ("quarantine", "swaps", "handovers", "call-backs", "gateways", "roster-gaps")),
    *(f"{P}/{name}" for name in ("kpis/{name}/rows", "reports/told", "rules/{rule_id}/diff")),
    f"{P}/staff/{{user_id}}/channels",
    f"{P}/command-strays",
    "/city/subscriptions/{subscription_id}/logins",
    "/ngsi-ld/v1/subscriptions/{ngsi_subscription_id}/attempts",
    "/me/channels",
    "/orders/{order_id}/reports",
    "/reports/mine",
    "/reports/{report_id}/nearby",
}
"""Nothing of it was put there."""


@pytest.fixture(scope="module")
def world(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with served(module_database_url, tmp_path_factory.mktemp("store")) as there:
        yield there
    structlog.configure(**before)


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    settings = ApiSettings(database_url="postgresql://nowhere", secret_key=KEY)
    return create_app(compose(settings), lambda: None).openapi()


@asynccontextmanager
async def as_(world: World, asker: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(world.url, asker if asker in ACCOUNTS else None) as http:
        http.headers["X-Purpose"] = "self" if asker == "resident1" else "duty"
        if asker == "display":
            http.cookies.update(world.screen)
        elif asker == "key":
            http.headers["X-API-Key"] = world.secret
        elif asker == "city":
            http.headers["X-API-Key"] = world.city_secret
        elif asker == "nobody":
            http.headers[TOKEN] = world.report_token
        yield http


def span(hours: int = 24) -> dict[str, str]:
    now = datetime.now(UTC)
    return {"from": (now - timedelta(hours=hours)).isoformat(), "to": now.isoformat()}


def asked(path: str, operation: Mapping[str, Any], asker: str) -> list[dict[str, str]]:
    """The queries to try: whatever the operation must be told, and each of what it can be exported as."""
    told: dict[str, str] = {}
    needed = {one["name"] for one in operation.get("parameters", ()) if one["in"] == "query" and one.get("required")}
    if {"from", "to"} <= needed:
        told = {"from": "1", "to": "1"} if path.endswith("/diff") else span()
    known = {
        "kind": "environment", "metric": "temperature" if "communities" in path else "battery", "month": "2026-10",
        "devices": "test-wristband-1,test-bin-1", "metrics": "battery", "category": "noise",
        "at": (datetime.now(UTC) - timedelta(minutes=30)).isoformat(),
    }  # fmt: skip
    told |= {name: known[name] for name in needed if name in known}
    if path.endswith("/ngsi-ld/v1/entities"):
        return [{"type": "WasteContainer"}]
    if path.endswith("/registry/export"):
        return [{"what": "places"}, {"what": "devices"}]
    if path.endswith("/export/readings"):
        return [told | {"format": "csv"}, told | {"format": "parquet"}]
    if path.endswith("/monthly-reports"):
        # A page takes half a second to set: once will do.
        return [told | {"format": form} for form in (("pdf", "xlsx") if asker == "desk" else ("xlsx",))]
    if path.endswith("/export"):
        return [{"purpose": "self"}, {"purpose": "export"}] if "{person_id}" in path else [told]
    return [told]


def whole(answer: httpx.Response) -> str | None:
    """What is wrong with the file, if anything: that it ends where its format ends."""
    body, media = answer.content, answer.headers["content-type"].partition(";")[0]
    length = answer.headers.get("content-length")
    if length is not None and int(length) != len(body):
        return f"{len(body)} of {length} bytes"
    if media in ("application/zip", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"):
        broken = zipfile.ZipFile(io.BytesIO(body)).testzip()
        return None if broken is None else f"{broken} is broken"
    if media == "text/csv":
        rows = list(csv.reader(io.StringIO(body.decode("utf-8-sig"))))
        return None if len(rows) > 1 and len({len(row) for row in rows}) == 1 else f"{len(rows)} rows, or of two widths"
    if media == "text/plain":
        return None  # of two versions that are alike nothing is told
    ends = {"application/vnd.apache.parquet": b"PAR1", "application/pdf": b"%%EOF", "image/jpeg": b"\xff\xd9"}
    return None if body.rstrip().endswith(ends.get(media, b"")) and body else f"{media} breaks off"


def promised(contract: dict[str, Any], operation: Mapping[str, Any], answer: httpx.Response) -> str | None:
    """What of the answer is not as the contract says."""
    responses = operation["responses"]
    content = responses.get(str(answer.status_code), responses.get("default", {})).get("content", {})
    media = answer.headers.get("content-type", "").partition(";")[0]
    found = next((value for name, value in content.items() if name.partition(";")[0] == media), None)
    if found is None:
        return f"{answer.status_code} {media} is not published"
    if not media.endswith("json"):
        return whole(answer)
    # Without a schema: a document whose form another standard says (JSON Schema, AsyncAPI, JSON-LD).
    rules = {**found.get("schema", {}), "components": contract["components"]}
    wrong = next(iter(Draft202012Validator(rules).iter_errors(answer.json())), None)
    return None if wrong is None else f"{wrong.json_path}: {wrong.message[:200]}"


def has_something(answer: httpx.Response) -> bool:
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return bool(answer.content)
    body = answer.json()
    return bool(body.get("items", body) if isinstance(body, dict) else body)


async def first_events(http: httpx.AsyncClient, path: str) -> tuple[int, bool]:
    """What a stream begins with; it has no end."""
    async with http.stream("GET", path, params={"cursor": 0}) as response:
        text = ""
        async for piece in response.aiter_text():
            text += piece
            if "\n\n" in text or response.status_code != 200:
                break
        return response.status_code, "data:" in text


@dataclass(slots=True)
class Tally:
    calls: int = 0
    wrong: list[str] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    filled: Counter[str] = field(default_factory=Counter)
    looked: dict[tuple[str, int, bytes], str | None] = field(default_factory=dict)
    """What was found of the very same answer to somebody else."""


async def ask(world: World, contract: dict[str, Any], asker: str, gets: Mapping[str, Any], tally: Tally) -> None:
    things = world.things | ({"person_id": "test-p2"} if asker == "resident1" else {})
    async with as_(world, asker) as http:
        for path, operation in gets.items():
            named = things | ({"name": "closing"} if path.endswith("/rows") else {})
            if "/cases/" in path:
                named |= {"evidence_id": things["case_photo_id"]}
            if path.endswith("/orders/{order_id}/cases"):
                named |= {"order_id": things["case_id"]}
            short = path.removeprefix("/api/v1")
            url = world.url + re.sub(r"\{(\w+)\}", lambda found, named=named: named[found[1]], path)  # type: ignore[misc]
            if short.endswith("/stream"):
                tally.calls += 1
                status, told = await first_events(http, url)
                tally.answered[short] += status == 200
                tally.filled[short] += told
                # Of city events nothing is told to whoever has no subscription, or several and named none.
                fine = (200, 401, 403, 409) if short == "/city/events/stream" else (200, 401, 403)
                tally.wrong += [f"{asker} {short}: {status}"] if status not in fine else []
                continue
            for query in asked(short, operation, asker):
                tally.calls += 1
                try:
                    answer = await http.get(url, params=query)
                except httpx.HTTPError as error:
                    tally.wrong.append(f"{asker} {short} {query}: broke off: {error!r}")
                    continue
                same = (path, answer.status_code, answer.content)
                if same not in tally.looked:
                    tally.looked[same] = promised(contract, operation, answer)
                fault = f"{answer.status_code}" if answer.status_code >= 500 else tally.looked[same]
                if fault is not None:
                    tally.wrong.append(f"{asker} {short} {query}: {fault}")
                if answer.status_code == 200:
                    tally.answered[short] += 1
                    tally.filled[short] += has_something(answer)


async def test_probe_every_get_answers_everybody_whole_and_as_published(world: World, contract: dict[str, Any]) -> None:
    tally, at_once = Tally(), asyncio.Semaphore(3)
    gets = {
        path: item["get"]
        for path, item in contract["paths"].items()
        if "get" in item and path.removeprefix("/api/v1") not in ELSEWHERE
    }

    async def in_turn(asker: str) -> None:
        async with at_once:
            await ask(world, contract, asker, gets, tally)

    await asyncio.gather(*map(in_turn, ASKERS))
    paths = {path.removeprefix("/api/v1") for path in gets}
    empty = sorted(paths - set(+tally.filled))
    sys.stdout.write(
        f"probe: {tally.calls} calls of {len(paths)} operations by {len(ASKERS)}, {tally.answered.total()} answered, "
        f"{tally.filled.total()} with content; never any of {empty}\n"
    )
    assert not tally.wrong, "\n".join(tally.wrong)
    assert sorted(paths - set(+tally.answered)) == [], "nobody was answered"
    assert set(empty) <= BARE


async def done(
    contract: dict[str, Any], path: str, answer: httpx.Response, status: int = 200, verb: str = "post"
) -> Any:
    """Its body, as published."""
    body = await said(answer, status)
    if status != 204:
        wrong = promised(contract, contract["paths"][f"/api/v1{path}"][verb], answer)
        assert wrong is None, f"{path}: {wrong}"
    return body


async def test_probe_places_and_devices_are_written(world: World, contract: dict[str, Any]) -> None:
    async with client(world.url, "admin") as admin:
        place = {"sort": "building", "id": "test-b7", "name": "7号楼", "compound_id": "test-c1",
                 "grid_id": "test-grid-1", "floors": 6}  # fmt: skip
        await done(contract, f"{P}/places", await admin.post(f"{C}/places", json=place, headers=once()), 201)
        path = f"{C}/places/building/test-b7"
        changed = await admin.patch(path, json={"floors": 7}, headers=seen(1))
        await done(contract, f"{P}/places/{{sort}}/{{place_id}}", changed, verb="patch")
        await done(contract, "", await admin.delete(path, headers=seen(2)), 204)
        device = {"id": "test-new-1", "kind": "smoke_detector", "building_id": "test-b1", "floor": 2}
        there = f"{P}/registry/devices"
        made = await done(contract, there, await admin.post(f"{C}/registry/devices", json=device, headers=once()), 201)
        version, path = made["device"]["version"], f"{C}/registry/devices/test-new-1"
        for verb, ending, sent in (
            ("patch", "", {"json": {"x": 12.5, "tags": ["fire_lane"]}}),
            ("post", "/secret", {}),
            ("post", "/retire", {}),
            ("post", "/reinstate", {}),
        ):
            answer = await admin.request(verb, f"{path}{ending}", headers=seen(version), **sent)  # type: ignore[arg-type]
            body = await done(contract, f"{there}/{{device_id}}{ending}", answer, verb=verb)
            version = body["device"]["version"]
        many = {"items": [{"id": "test-new-1", "version": version, "name": "新烟感"}]}
        await done(contract, there, await admin.patch(f"{C}/registry/devices", json=many), verb="patch")
        version = (await said(await admin.get(path)))["version"]
        move = {"devices": [{"id": "test-new-1", "version": version, "x": 33.3, "y": 22}]}
        await done(contract, f"{P}/plan/places", await admin.patch(f"{C}/plan/places", json=move), verb="patch")
        sheet = f"{P}/registry/imports/{{import_id}}/apply"
        await done(contract, sheet, await admin.post(f"{C}/registry/imports/{world.things['import_id']}/apply"))
        back = await admin.post(f"{C}/plan/drawings/1/restore", headers=seen(world.things["version"]))
        await done(contract, f"{P}/plan/drawings/{{version}}/restore", back, 201)
        version = (await said(await admin.get(f"{C}/registry")))["version"]
        renamed = await admin.patch(f"{C}/registry", json={"residents": 9}, headers=seen(version))
        await done(contract, f"{P}/registry", renamed, verb="patch")


async def test_probe_people_and_accounts_are_written(world: World, contract: dict[str, Any]) -> None:
    async with client(world.url, "admin") as admin:
        new = {"name": "赵云", "birth_year": 1950, "household_id": "test-h3"}
        made = await admin.post(f"{C}/people", json=new, headers=once())
        person = (await done(contract, f"{P}/people", made, 201))["id"]
        path, at = f"/people/{person}", "/people/{person_id}"
        changed = await admin.put(path, json=new | {"phone": "13800001234"}, headers={"If-Match": made.headers["ETag"]})
        await done(contract, at, changed, verb="put")
        await done(contract, f"{at}/reveal", await admin.post(f"{path}/reveal", json={"purpose": "duty"}))
        given = await admin.post(f"{path}/consents", json={"what": "vitals", "how": "paper"}, headers=once())
        consent = (await done(contract, f"{at}/consents", given, 201))["id"]
        taken = await admin.post(f"/consents/{consent}/withdraw")
        assert not (await done(contract, "/consents/{consent_id}/withdraw", taken))["valid"]
        dry = await admin.post(f"{path}/erase", json={"dry_run": True})
        assert (await done(contract, f"{at}/erase", dry))["state"] == "dry_run"
        out = await admin.post(f"{path}/move-out", json={}, headers={"If-Match": changed.headers["ETag"]})
        await done(contract, f"{at}/move-out", out)

        wish = {"username": "wang", "display_name": "王强", "role": "grid", "team": "grid", "community_id": "test"}
        answer = await admin.post("/users", json=wish | {"grid_id": "test-grid-1"}, headers=once())
        account = (await done(contract, "/users", answer, 201))["account"]["id"]
        path, at = f"/users/{account}", "/users/{user_id}"
        await done(contract, f"{at}/password", await admin.post(f"{path}/password", headers=once()))
        tag = (await admin.get(path)).headers["ETag"]
        wish = wish | {"grid_id": "test-grid-2"}
        del wish["username"]
        changed = await admin.put(path, json=wish, headers={"If-Match": tag})
        await done(contract, at, changed, verb="put")
        off = await admin.post(f"{path}/disable", json={"why": "离职"}, headers={"If-Match": changed.headers["ETag"]})
        await done(contract, f"{at}/disable", off)
        on = await admin.post(f"{path}/enable", headers={"If-Match": off.headers["ETag"]})
        await done(contract, f"{at}/enable", on)
        await done(contract, f"{at}/sessions/end", await admin.post(f"{path}/sessions/end"))


async def test_probe_keys_screens_silences_and_rosters_are_written(world: World, contract: dict[str, Any]) -> None:
    async with client(world.url, "admin") as admin, client(world.url, "desk") as desk:
        account = (await done(contract, "/service-accounts", await admin.post(
            "/service-accounts", json={"name": "平台", "community_id": "test"}), 201))["id"]  # fmt: skip
        path, at = f"/service-accounts/{account}", "/service-accounts/{account_id}"
        made = await admin.post(f"{path}/keys", json={"name": "对接", "scopes": ["devices"]})
        old = (await done(contract, f"{at}/keys", made, 201))["key"]["id"]
        turned = await admin.post(f"/keys/{old}/rotate", json={"overlap_s": 60})
        new = (await done(contract, "/keys/{key_id}/rotate", turned, 201))["key"]["id"]
        await done(contract, "/keys/{key_id}/revoke", await admin.post(f"/keys/{new}/revoke"))
        await done(contract, f"{at}/disable", await admin.post(f"{path}/disable"))
        await done(contract, f"{at}/enable", await admin.post(f"{path}/enable"))

        async with client(world.url) as screen:
            asked_for = await done(contract, "/displays/pairings", await screen.post("/displays/pairings"), 201)
            told = await desk.post(f"{C}/displays", json={"code": asked_for["code"], "name": "副屏"})
            display = (await done(contract, f"{P}/displays", told, 201))["id"]
            claim = await screen.post(
                f"/displays/pairings/{asked_for['id']}/claim", json={"secret": asked_for["secret"]}
            )
            assert (await done(contract, "/displays/pairings/{pairing_id}/claim", claim))["state"] == "paired"
            fresh = await screen.post("/displays/me/refresh", json={}, headers={"X-LinHub": "1"})
            await done(contract, "/displays/me/refresh", fresh)
            tag = (await desk.get(f"/displays/{display}")).headers["ETag"]
            named = await desk.put(f"/displays/{display}", json={"name": "大厅副屏"}, headers={"If-Match": tag})
            await done(contract, "/displays/{display_id}", named, verb="put")
            await done(contract, "/displays/{display_id}/revoke", await desk.post(f"/displays/{display}/revoke"))

        now = datetime.now(UTC)
        stretch = {"starts_at": now.isoformat(), "ends_at": (now + timedelta(hours=1)).isoformat()}
        silence = {"matcher": {"kinds": ["lamp_post"]}, "why": "检修", **stretch}
        await done(contract, f"{P}/silences/preview", await desk.post(f"{C}/silences/preview", json=silence))
        made = await done(contract, f"{P}/silences", await desk.post(f"{C}/silences", json=silence))
        await done(contract, "/silences/{silence_id}/end", await desk.post(f"/silences/{made['id']}/end"))

        whole_day = [{"name": "全天", "from": "00:00", "to": "00:00"}]
        body = {"team": "cleaning", "shifts": whole_day, "people": [["user-cleaning1"]], "from": "2026-11-01"}
        rota = f"{P}/rotas/{{rota_id}}"
        saved = await desk.put(f"{C}/rotas/more", json=body, headers={"If-None-Match": "*"})
        await done(contract, rota, saved, verb="put")
        await done(contract, f"{rota}/generate", await desk.post(f"{C}/rotas/more/generate", json={"days": 20}))
        gone = await desk.delete(f"{C}/rotas/more", headers=seen(1))
        await done(contract, rota, gone, verb="delete")
        far = {"starts_at": (now + timedelta(days=30)).isoformat(), "ends_at": (now + timedelta(days=31)).isoformat()}
        shift = {"team": "patrol", "user_id": "user-patrol1", **far}
        made = await done(contract, f"{P}/shifts", await desk.post(f"{C}/shifts", json=shift, headers=once()))
        one = made["id"] if "id" in made else made["items"][0]["id"]
        cancelled = await desk.post(f"/shifts/{one}/cancel", json={"why": "误排"})
        await done(contract, "/shifts/{shift_id}/cancel", cancelled)
        code = await done(
            contract,
            f"{P}/place-codes",
            await desk.post(f"{C}/place-codes", json={"building_id": "test-b1"}, headers=once()),
        )
        turned = await done(
            contract, "/place-codes/{code_id}/rotate", await desk.post(f"/place-codes/{code['id']}/rotate")
        )
        revoked = await desk.post(f"/place-codes/{turned['id']}/revoke")
        await done(contract, "/place-codes/{code_id}/revoke", revoked)
