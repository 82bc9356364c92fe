"""Every GET operation of the published schema, with real things, as everybody: it answers, whole, as it was promised."""

from __future__ import annotations

import csv
import io
import re
import sys
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator

from services.api.app import create_app
from services.api.main import compose
from services.api.settings import ApiSettings
from tests.api_server import KEY, client
from tests.probe_kit import TOKEN, C, World, once, said, seen, served

ACCOUNTS = (
    "admin", "desk", "grid1", "patrol1", "street", "resident1", "platform", "merchant", "visitor",
)  # fmt: skip
ASKERS = (*ACCOUNTS, "display", "key", "nobody")
P = "/communities/{community_id}"
ELSEWHERE = {"/auth/oidc/start", "/auth/oidc/callback"}
"""Answered with a redirect to a provider, which is not there: tests/integration/test_api_oidc.py."""
BARE = {f"{P}/{name}" for name in ("quarantine", "swaps", "handovers", "call-backs", "gateways")}
"""Nothing of it was put there."""


@pytest.fixture(scope="module")
def world(module_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with served(module_database_url, tmp_path_factory.mktemp("store")) as there:
        yield there


@pytest.fixture(scope="module")
def contract() -> dict[str, Any]:
    settings = ApiSettings(database_url="postgresql://nowhere", secret_key=KEY)
    return create_app(compose(settings), lambda: None).openapi()


@asynccontextmanager
async def as_(world: World, asker: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(world.url, asker if asker in ACCOUNTS else None) as http:
        http.headers["X-Purpose"] = "family" if asker == "resident1" else "duty"
        if asker == "display":
            http.cookies.update(world.screen)
        elif asker == "key":
            http.headers["X-API-Key"] = world.secret
        elif asker == "nobody":
            http.headers[TOKEN] = world.report_token
        yield http


def span(hours: int = 24) -> dict[str, str]:
    now = datetime.now(UTC)
    return {"from": (now - timedelta(hours=hours)).isoformat(), "to": now.isoformat()}


def asked(path: str, operation: Mapping[str, Any]) -> list[dict[str, str]]:
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
    if path.endswith("/registry/export"):
        return [{"what": "places"}, {"what": "devices"}]
    if path.endswith("/export/readings"):
        return [told | {"format": "csv"}, told | {"format": "parquet"}]
    if path.endswith("/monthly-reports"):
        return [told | {"format": "pdf"}, told | {"format": "xlsx"}]
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
    rules = {**found["schema"], "components": contract["components"]}
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


async def test_probe_every_get_answers_everybody_whole_and_as_published(world: World, contract: dict[str, Any]) -> None:
    wrong: list[str] = []
    answered, filled, calls = Counter[str](), Counter[str](), 0
    gets = {path: item["get"] for path, item in contract["paths"].items() if "get" in item}
    for asker in ASKERS:
        async with as_(world, asker) as http:
            for path, operation in gets.items():
                short = path.removeprefix("/api/v1")
                if short in ELSEWHERE:
                    continue
                things = world.things | ({"person_id": "test-p2"} if asker == "resident1" else {})
                if short.endswith("/rows"):
                    things = things | {"name": "closing"}
                url = world.url + re.sub(r"\{(\w+)\}", lambda m, t=things: t.get(m[1], "missing"), path)  # type: ignore[misc]
                if short.endswith("/stream"):
                    calls += 1
                    status, told = await first_events(http, url)
                    answered[short] += status == 200
                    filled[short] += told
                    wrong += [f"{asker} {short}: {status}"] if status >= 500 else []
                    continue
                for query in asked(short, operation):
                    calls += 1
                    try:
                        answer = await http.get(url, params=query)
                    except httpx.HTTPError as error:
                        wrong.append(f"{asker} {short} {query}: broke off: {error!r}")
                        continue
                    fault = str(answer.status_code) if answer.status_code >= 500 else None
                    fault = fault or promised(contract, operation, answer)
                    if fault is not None:
                        wrong.append(f"{asker} {short} {query}: {fault}")
                    if answer.status_code == 200:
                        answered[short] += 1
                        filled[short] += has_something(answer)
    paths = {path.removeprefix("/api/v1") for path in gets} - ELSEWHERE
    empty = sorted(paths - set(+filled))
    sys.stdout.write(
        f"probe: {calls} calls of {len(paths)} operations, {answered.total()} answered, {filled.total()} with content; "
        f"never any of {empty}\n"
    )
    assert wrong == []
    assert sorted(paths - set(+answered)) == [], "nobody was answered"
    assert set(empty) <= BARE
