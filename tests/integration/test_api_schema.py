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
from collections.abc import Iterator
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
    structlog.reset_defaults()


def _token(url: str, username: str) -> str:
    answer = httpx.post(
        f"{url}/api/v1/auth/login", json={"username": username, "password": PASSWORD}, trust_env=False, timeout=90
    )
    token: str = answer.json()["access_token"]
    return token


@pytest.mark.parametrize("username", ["admin", "resident1"])
def test_schema_holds_for_every_operation(url: str, username: str) -> None:
    settings_ = ApiSettings(database_url="postgresql://nowhere", secret_key=KEY)
    schema = schemathesis.openapi.from_dict(create_app(compose(settings_), lambda: None).openapi())
    token, calls, failures = _token(url, username), Counter[str](), dict[str, str]()
    load_all_checks()
    checks: list[Any] = [check for check in CHECKS.get_all() if check.__name__ not in _LEFT_OUT]
    for result in schema.get_all_operations():
        operation = result.ok()  # type: ignore[union-attr]
        if operation.path.endswith(_STREAMS) or operation.path.startswith("/api/v1/auth/"):
            continue

        @settings(
            max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        @given(case=st.one_of(operation.as_strategy(), operation.as_strategy(schemathesis.GenerationMode.NEGATIVE)))
        def one(case: schemathesis.Case[Any]) -> None:
            name = f"{case.method.upper()} {case.operation.path}"
            calls[name] += 1
            try:
                case.call_and_validate(
                    base_url=url, headers={"Authorization": f"Bearer {token}"}, checks=checks, timeout=90
                )
            except FailureGroup as group:
                for failure in group.exceptions:
                    failures.setdefault(f"{name}: {type(failure).__name__}", str(failure)[:400])

        one()
    sys.stdout.write(
        f"schema as {username}: {calls.total()} calls, {len(calls)} operations, {len(failures)} failures\n"
    )
    assert failures == {}
