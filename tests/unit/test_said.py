from __future__ import annotations

from tests.said import lasting


def test_ids_and_times_are_left_out_and_what_is_said_stays() -> None:
    text = (
        '{"id":"d2e8ff35-b130-4ada-8edd-26d0607b9e31","at":"2026-11-22T08:00:00.173000Z","ms":1795406363173,"hr":173}'
    )
    assert lasting(text) == '{"id":"…","at":"…Z","ms":…,"hr":173}'
