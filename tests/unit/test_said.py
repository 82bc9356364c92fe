from __future__ import annotations

from datetime import UTC, datetime

from tests.said import lasting


def test_ids_and_times_are_left_out_and_what_is_said_stays() -> None:
    text = (
        '{"id":"d2e8ff35-b130-4ada-8edd-26d0607b9e31","at":"2026-11-22T08:00:00.173000Z","ms":1795406363173,"hr":173}'
    )
    assert lasting(text) == '{"id":"…","at":"…Z","ms":…,"hr":173}'


def test_times_as_python_shows_them_are_left_out() -> None:
    row = {"at": datetime(2026, 11, 22, 8, 0, 0, 173000, tzinfo=UTC), "value": 173}
    assert lasting(str(row)) == "{'at': datetime.…, 'value': 173}"
