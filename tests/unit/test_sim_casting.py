"""Whom a story is played by, chosen from what the API shows; no sockets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from device_sim.theatre import casting
from device_sim.theatre.api import Api
from device_sim.theatre.story import Need, Story

NOW_MS = round(datetime(2026, 11, 23, 8, tzinfo=UTC).timestamp() * 1000)


class Shown:
    """An API that shows these water meters, by how long each has been silent in seconds, and nothing open."""

    def __init__(self, **silent_s: float) -> None:
        self._devices: list[dict[str, Any]] = [
            {
                "id": id, "kind": "water_meter", "building_id": "b", "gateway_id": None, "tags": [],
                "ts": datetime.fromtimestamp(NOW_MS / 1000 - silent, UTC).isoformat(),
            }
            for id, silent in silent_s.items()
        ]  # fmt: skip

    async def pages(self, path: str, **_: Any) -> list[dict[str, Any]]:
        return self._devices if path.endswith("/devices") else []


async def chosen(**silent_s: float) -> str:
    story = cast(Story, type("Burst", (), {"name": "burst", "need": Need("water_meter", quiet_s=75)}))
    found = await casting.cast(cast(Api, Shown(**silent_s)), "c", "desk", story, NOW_MS, patient=False)
    return found.ids[0]


async def test_casting_takes_a_meter_that_has_spoken_and_does_not_speak_soon() -> None:
    """Of those that speak each quarter of an hour: not one that has just spoken, nor one that is about to."""
    assert {await chosen(spoke=20, rests=400, due=893) for _ in range(20)} == {"rests"}


async def test_casting_takes_one_that_is_due_where_there_is_no_other() -> None:
    assert await chosen(spoke=20, due=893) == "due"
