"""Failpoints: nothing where none is armed, exactly the named place and passing where one is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.ingest import failpoints
from services.ingest.failpoints import FailpointReached
from services.ingest.settings import IngestSettings


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    failpoints.arm("")
    yield
    failpoints.arm("")


def test_failpoints_cost_nothing_where_none_is_armed() -> None:
    def decode() -> int:
        return 1

    assert failpoints.wrap("decode", decode) is decode
    for point in failpoints.POINTS:
        failpoints.reach(point)


def test_failpoint_raises_at_every_so_many_passings_of_its_own_place() -> None:
    failpoints.arm("store:raise:2")
    failpoints.reach("ack")
    failpoints.reach("store")
    with pytest.raises(FailpointReached):
        failpoints.reach("store")
    failpoints.reach("store")


def test_failpoint_wraps_what_happens_once_a_message() -> None:
    def decode() -> int:
        return 1

    failpoints.arm("decode:raise:2")
    wrapped = failpoints.wrap("decode", decode)
    assert wrapped() == 1
    with pytest.raises(FailpointReached):
        wrapped()


@pytest.mark.parametrize("text", ["nowhere:kill", "store", "store:explode", "store:kill:0", "store:kill:x"])
def test_settings_refuse_a_failpoint_that_does_not_exist(text: str) -> None:
    with pytest.raises(ValueError, match="expected point:action"):
        IngestSettings(database_url="postgresql://x/y", mqtt_url="mqtt://x", failpoint=text)
