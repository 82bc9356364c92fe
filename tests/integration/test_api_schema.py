"""What the published schema promises, tried by Schemathesis: generated calls, good and bad, as admin and as resident.

LINHUB_SCHEMA_EXAMPLES sets how many calls are made to each operation: few in the suite, hundreds in a campaign.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import schemathesis
import structlog
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.core.failures import FailureGroup

from services.api.app import create_app
from services.api.main import compose
from services.api.settings import ApiSettings
from tests.api_server import KEY, api_server
from tests.conftest import run
from tests.factory import PASSWORD, put_community, small_community

EXAMPLES = int(os.environ.get("LINHUB_SCHEMA_EXAMPLES", "1"))
_LEFT_OUT = {"use_after_free", "ensure_resource_availability", "ignored_auth", "positive_data_acceptance"}
"""Not of single calls, or of what a made-up id cannot have: a call that the schema allows may name nothing that is."""
_STREAMS = "/stream"


@pytest.fixture(scope="module")
def url(module_database_url: str) -> Iterator[str]:
    """The service on a thread and a loop of its own: Schemathesis calls from this one."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    run(put_community(module_database_url, small_community()))
    started, stop, found = threading.Event(), asyncio.Event(), list[str]()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with api_server(module_database_url, auth_requests_per_min=60_000) as base:
            found.append(base)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(60)
    yield found[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    loop.close()
    structlog.configure(**before)


def _token(url: str, username: str) -> str:
    answer = httpx.post(
        f"{url}/api/v1/auth/login", json={"username": username, "password": PASSWORD}, trust_env=False, timeout=90
    )
    token: str = answer.json()["access_token"]
    return token


class Trial:
    """Calls one operation after the other as somebody, and keeps what the schema did not promise."""

    def __init__(self, url: str, username: str) -> None:
        settings_ = ApiSettings(database_url="postgresql://nowhere", secret_key=KEY)
        self.document = create_app(compose(settings_), lambda: None).openapi()
        self.schema = schemathesis.openapi.from_dict(self.document)
        self.calls, self.failures = Counter[str](), dict[str, str]()
        self._url, self._token = url, _token(url, username)
        load_all_checks()
        self._checks: list[Any] = [check for check in CHECKS.get_all() if check.__name__ not in _LEFT_OUT]

    def call(self, case: schemathesis.Case[Any]) -> Any:
        """The answer; None where it breaks a promise."""
        name = f"{case.method.upper()} {case.operation.path}"
        self.calls[name] += 1
        try:
            return case.call_and_validate(
                base_url=self._url,
                headers={"Authorization": f"Bearer {self._token}"},
                checks=self._checks,
                timeout=90,
            )
        except FailureGroup as group:
            for failure in group.exceptions:
                self.failures.setdefault(f"{name}: {type(failure).__name__}", str(failure)[:400])
        return None

    def each(self, cases: st.SearchStrategy[schemathesis.Case[Any]], most: int, do: Callable[[Any], object]) -> None:
        @settings(
            max_examples=most, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=cases)
        def one(case: schemathesis.Case[Any]) -> None:
            do(case)

        one()


@pytest.mark.parametrize("username", ["admin", "resident1"])
def test_schema_holds_for_every_operation(url: str, username: str) -> None:
    trial = Trial(url, username)
    for result in trial.schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]
        if operation.path.endswith(_STREAMS) or operation.path.startswith("/api/v1/auth/"):
            continue
        negative = operation.as_strategy(schemathesis.GenerationMode.NEGATIVE)
        trial.each(st.one_of(operation.as_strategy(), negative), EXAMPLES, trial.call)
    calls, failures = trial.calls, trial.failures
    sys.stdout.write(
        f"schema as {username}: {calls.total()} calls, {len(calls)} operations, {len(failures)} failures\n"
    )
    assert failures == {}


def _made(url: str) -> dict[str, Any]:
    """One of each thing that the schema links from, made as people make it: operation → answer."""
    with httpx.Client(base_url=f"{url}/api/v1", trust_env=False, timeout=90) as http:

        def post(path: str, body: Mapping[str, Any], token: str | None = None) -> Any:
            headers = {"Idempotency-Key": f"made-{path}"} | ({"Authorization": f"Bearer {token}"} if token else {})
            answer = http.post(path, json=body, headers=headers)
            assert answer.is_success, (path, answer.text)
            return answer.json()

        admin, desk = _token(url, "admin"), _token(url, "desk")
        now = datetime.now(UTC)
        silence = {
            "matcher": {"rules": ["*.offline"]}, "why": "检修",
            "starts_at": now.isoformat(), "ends_at": (now + timedelta(hours=2)).isoformat(),
        }  # fmt: skip
        pairing = post("/displays/pairings", {})
        account = post("/service-accounts", {"name": "平台", "role": "platform", "community_id": "test"}, admin)
        key = {"name": "对接", "scopes": ["orders"], "days": 30}
        order = {"source": "staff", "title": "路灯不亮", "severity": "minor", "team": "maintenance", "x": 4, "y": 5}
        return {
            "POST /api/v1/displays/pairings": pairing,
            "POST /api/v1/communities/{community_id}/displays": post(
                "/communities/test/displays", {"code": pairing["code"], "name": "大厅"}, desk
            ),
            "POST /api/v1/service-accounts": account,
            "POST /api/v1/service-accounts/{account_id}/keys": post(
                f"/service-accounts/{account['id']}/keys", key, admin
            ),
            "POST /api/v1/communities/{community_id}/orders": post("/communities/test/orders", order, desk),
            "POST /api/v1/communities/{community_id}/silences": post("/communities/test/silences", silence, desk),
        }


def test_schema_holds_along_its_links(url: str) -> None:
    """What one call made, the next ones read, change and end: every link that the schema states is followed."""
    trial = Trial(url, "admin")
    operations = {
        operation.definition.raw["operationId"]: operation
        for operation in (result.ok() for result in trial.schema.get_all_operations())  # type: ignore[union-attr]
    }
    made, found = _made(url), Counter[str]()
    linked = {
        operation.label: links
        for operation in operations.values()
        for status, answer in operation.definition.raw["responses"].items()
        if status.startswith("2") and (links := answer.get("links"))
    }
    assert made.keys() == linked.keys(), "one of each thing that something is linked from"
    for label, links in linked.items():
        for link in links.values():
            known = {name: _at(made[label], at) for name, at in link["parameters"].items()}

            body = {name: _at(made[label], at) for name, at in link.get("requestBody", {}).items()}

            def follow(
                case: schemathesis.Case[Any], known: dict[str, str] = known, body: dict[str, str] = body
            ) -> None:
                case.path_parameters = {**(case.path_parameters or {}), **known}
                if body:
                    case.body = {**body}
                answer = trial.call(case)
                found[case.operation.label] += answer is not None and answer.status_code not in (404, 405)

            trial.each(operations[link["operationId"]].as_strategy(), max(EXAMPLES, 4), follow)
    calls, failures = trial.calls, trial.failures
    sys.stdout.write(
        f"schema along links: {calls.total()} calls, {sum(map(len, linked.values()))} links, "
        f"what was made found {found.total()} times, {len(failures)} failures\n"
    )
    assert failures == {}
    assert all(found.values()), [name for name, times in found.items() if not times]


def _at(answer: Any, expression: str) -> Any:
    for part in expression.removeprefix("$response.body#/").split("/"):
        answer = answer[part]
    return answer
