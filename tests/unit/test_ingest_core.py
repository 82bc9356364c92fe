"""The checks of ingest, its filters, its state and its settings, without a broker or a database."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from services.adapters.mqtt import Address, Inbound
from services.domain.devices import BY_NAME
from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition
from services.domain.messages import DeviceEvent, Reason, Rejected, Reply, StatusChange, Telemetry, Topic
from services.ingest.acks import acknowledgements
from services.ingest.checked import NO_COMMUNITY, Checked, Outcome
from services.ingest.core import check, order_statuses
from services.ingest.lane import portions
from services.ingest.ledger import ledger
from services.ingest.registry import KnownDevice, Registry, kind_spec
from services.ingest.settings import IngestSettings
from services.ingest.state import CLOCK_LIMIT_MS, StateFold
from services.ingest.values import reconcile

NOW = 1_800_000_000_000
HOME = CommunityId("home")


def device(no: int, id: str, kind: str, gateway: int | None = None, community: str = "home") -> KnownDevice:
    gateway_no = None if gateway is None else DeviceNo(gateway)
    known = CommunityId(community)
    return KnownDevice(DeviceNo(no), DeviceId(id), known, Partition(3), kind_spec(BY_NAME[kind]), gateway_no, "native")


KNOWN = (
    device(1, "gateway", "gateway"),
    device(2, "meter", "water_meter", gateway=1),
    device(3, "env", "environment"),
    device(4, "sos", "sos_button"),
    device(5, "charger", "charger"),
    device(7, "lamp", "lamp_post"),
    device(6, "far", "environment", community="away"),
)
REGISTRY = Registry({one.id: one for one in KNOWN}, {HOME: Partition(3), CommunityId("away"): Partition(5)})


def checked(part: Any, publisher: str, community: str = "home", now: int = NOW) -> Checked:
    into = Checked()
    topic = Topic(CommunityId(community), DeviceId(publisher), "telemetry")
    check(into, 0, now, topic, part, REGISTRY)
    return into


def values(device: str, values: dict[str, Any], ts: int = NOW, id: str | None = "m") -> Telemetry:
    return Telemetry(DeviceId(device), ts, values, id)


GOOD = {"temperature": 20}


@pytest.mark.parametrize(
    ("part", "publisher", "community", "reason"),
    [
        (values("nobody", GOOD), "nobody", "home", Reason.UNKNOWN_DEVICE),
        (values("nobody", GOOD), "gateway", "home", Reason.UNKNOWN_DEVICE),
        (values("env", GOOD), "env", "away", Reason.WRONG_COMMUNITY),
        (values("env", GOOD), "env", "nowhere", Reason.WRONG_COMMUNITY),
        (values("far", GOOD), "gateway", "home", Reason.WRONG_COMMUNITY),
        (values("env", GOOD), "gateway", "home", Reason.NOT_YOUR_DEVICE),
        (values("meter", {"flow": 1}), "env", "home", Reason.NOT_YOUR_DEVICE),
        (values("env", GOOD, NOW + 300_001), "env", "home", Reason.FUTURE),
        (values("env", GOOD, NOW - 7 * 86_400_000 - 1), "env", "home", Reason.TOO_OLD),
        (values("env", {"smell": 1}), "env", "home", Reason.UNKNOWN_METRIC),
        (values("env", {"temperature": 5000}), "env", "home", Reason.OUT_OF_RANGE),
        (values("env", {"temperature": 10**400}), "env", "home", Reason.OUT_OF_RANGE),
        (values("env", {"temperature": float("nan")}), "env", "home", Reason.OUT_OF_RANGE),
        (values("env", {"temperature": True}), "env", "home", Reason.MALFORMED),
        (values("env", {"temperature": "warm"}), "env", "home", Reason.MALFORMED),
        (values("env", {"temperature": [[1]]}), "env", "home", Reason.MALFORMED),
        (DeviceEvent(DeviceId("sos"), NOW, "opened", {}, "e"), "sos", "home", Reason.UNKNOWN_EVENT),
        (Rejected(Reason.MALFORMED, "why"), "env", "home", Reason.MALFORMED),
    ],
)  # fmt: skip
def test_check_refuses_with_the_reason(part: Any, publisher: str, community: str, reason: Reason) -> None:
    result = checked(part, publisher, community)
    assert not result.items() and not result.bad_values
    (refusal,) = result.refusals
    assert refusal.rejected.reason is reason and refusal.rejected.detail
    assert refusal.partition == {"home": 3, "away": 5}.get(community, NO_COMMUNITY)
    assert ledger(result) == {refusal.partition: {Outcome.REJECTED: 1}}


@pytest.mark.parametrize("ts", [NOW + 300_000, NOW, NOW - 7 * 86_400_000])
def test_check_accepts_the_whole_time_window(ts: int) -> None:
    assert len(checked(values("env", GOOD, ts), "env").readings) == 1


def test_check_says_when_a_time_looks_like_seconds() -> None:
    assert "looks like seconds" in checked(values("env", GOOD, NOW // 1000), "env").refusals[0].rejected.detail


def test_check_notes_a_clock_that_lives_in_the_future() -> None:
    (clock,) = checked(values("env", GOOD, NOW + 3_600_000), "env").clocks
    assert (clock.device.id, clock.offset_ms) == ("env", 3_600_000)
    assert not checked(values("nobody", GOOD, NOW + 3_600_000), "nobody").clocks


@pytest.mark.parametrize("ts", [NOW + 300_001, NOW + 366 * 86_400_000, 0, 946_684_800_000])
def test_check_answers_a_call_for_help_whatever_the_clock_says(ts: int) -> None:
    result = checked(DeviceEvent(DeviceId("sos"), ts, "pressed", {"by": "hand"}, "e"), "sos")
    (happening,) = result.happenings
    assert not result.refusals
    assert (happening.ts_ms, happening.data) == (NOW, {"by": "hand", "device_ts": ts})
    (kept,) = result.bad_values
    assert kept.reason is (Reason.FUTURE if ts > NOW else Reason.TOO_OLD) and "answered" in kept.detail
    assert len(result.clocks) == (1 if ts > NOW else 0)


def test_check_does_not_answer_a_call_for_help_of_last_week() -> None:
    (refusal,) = checked(DeviceEvent(DeviceId("sos"), NOW - 8 * 86_400_000, "pressed", {}, "e"), "sos").refusals
    assert refusal.rejected.reason is Reason.TOO_OLD


def test_check_refuses_an_ordinary_event_with_an_impossible_time() -> None:
    (refusal,) = checked(DeviceEvent(DeviceId("meter"), NOW + 3_600_000, "leak", {}, "e"), "meter").refusals
    assert refusal.rejected.reason is Reason.FUTURE


def test_check_takes_a_status_whose_connection_is_older_than_a_week() -> None:
    will = StatusChange(DeviceId("env"), NOW - 30 * 86_400_000, False, 4)
    assert len(checked(will, "env").statuses) == 1


def test_check_stores_what_is_good_and_quarantines_single_values() -> None:
    result = checked(values("env", {"temperature": 20, "humidity": 300, "smell": 1}), "env")
    (reading,) = result.readings
    assert reading.vals[0] == 20.0 and reading.vals.count(None) == len(reading.vals) - 1
    assert [bad.reason for bad in result.bad_values] == [Reason.OUT_OF_RANGE, Reason.UNKNOWN_METRIC]


def test_check_stores_switches_as_numbers_and_states_by_name() -> None:
    lamp, charger = BY_NAME["lamp_post"], BY_NAME["charger"]
    for switched, number in ((True, 1.0), (False, 0.0), (1, 1.0)):
        (reading,) = checked(values("lamp", {"on": switched}), "lamp").readings
        assert reading.vals[lamp.position("on") or 0] == number
    position = charger.position("state")
    assert position is not None
    for index, option in enumerate(charger.metrics[position].options):
        for sent in (option, index):
            (reading,) = checked(values("charger", {"state": sent}), "charger").readings
            assert reading.vals[position] == float(index)
    assert (
        checked(values("charger", {"state": "dreaming"}), "charger").refusals[0].rejected.reason is Reason.OUT_OF_RANGE
    )
    assert checked(values("charger", {"state": 0.5}), "charger").refusals[0].rejected.reason is Reason.OUT_OF_RANGE


def test_check_sees_the_gateway_that_forwards() -> None:
    assert checked(values("meter", {"flow": 1}), "gateway").forwarders == {1: NOW}
    assert not checked(values("env", GOOD), "env").forwarders


def test_check_keeps_a_reply_under_its_command() -> None:
    (happening,) = checked(Reply(DeviceId("env"), NOW, "c7", True), "env").happenings
    assert (happening.event, happening.message_id) == ("reply:c7", "c7")


NUMBERS = st.none() | st.integers(0, 3).map(float)


@given(st.lists(NUMBERS, max_size=5), st.lists(NUMBERS, max_size=5))
def test_reconcile_lets_the_first_value_stand_and_fills_holes(stored: list[Any], sent: list[Any]) -> None:
    now, added, disagree = reconcile(stored, sent)
    for position, (old, new) in enumerate(itertools.zip_longest(stored, sent)):
        assert now[position] == (new if old is None else old)
        assert added[position] == (new if old is None else None)
        assert (position in disagree) == (old is not None and new is not None and old != new)
    assert reconcile(now, sent)[1] == [None] * len(now)


def test_statuses_are_ordered_by_session_and_the_will_comes_last() -> None:
    wills = [(2, True), (1, False), (2, True), (2, False), (2, True), (3, True)]
    into = Checked()
    for session, online in wills:
        check(into, 0, NOW, Topic(HOME, DeviceId("env"), "status"), StatusChange(DeviceId("env"), NOW, online, session),
              REGISTRY)  # fmt: skip
    now = order_statuses(into.statuses, {DeviceNo(3): (1, True)})
    new = [(s.session, s.online) for s in into.statuses if s.outcome is Outcome.STORED]
    assert new == [(2, True), (2, False), (3, True)]
    assert now == {3: (3, False)}


def test_acknowledgements_go_to_the_publisher_and_only_for_ids() -> None:
    into = Checked()
    topics = ["sc/home/gateway/up/telemetry", "sc/home/env/up/telemetry", "sc/home/env/up/telemetry"]
    parts = [values("meter", {"flow": 1}, id="a"), values("env", GOOD, id=None), values("env", {"x": 1}, id="b")]
    for source, part in enumerate(parts):
        check(into, source, NOW, Topic(HOME, DeviceId(topics[source].split("/")[2]), "telemetry"), part, REGISTRY)
    messages = [Inbound(topic, b"", 1, 1, False, NOW) for topic in topics]
    sent = dict(acknowledgements(messages, into))
    assert set(sent) == {"sc/home/gateway/down/ack", "sc/home/env/down/ack"}
    assert sent["sc/home/gateway/down/ack"] == b'{"ids": ["a"], "rejected": []}'
    assert b'"id": "b", "reason": "unknown_metric"' in sent["sc/home/env/down/ack"]


def test_state_does_not_depend_on_the_order_of_telemetry() -> None:
    rows = [(ts, [float(ts), None if ts % 2 else float(ts)]) for ts in range(1, 8)]
    results = []
    for seed in range(20):
        fold = StateFold()
        for ts, vals in random.Random(seed).sample(rows, len(rows)):
            fold.reading(DeviceNo(1), ts, NOW, list(vals))
        results.append((fold.pending[DeviceNo(1)].vals_ms, fold.pending[DeviceNo(1)].vals[0]))
    assert set(results) == {(7, 7.0)}


def test_state_keeps_the_last_known_value_of_a_metric_that_was_not_sent() -> None:
    fold = StateFold()
    fold.reading(DeviceNo(1), 1, NOW, [1.0, 2.0])
    fold.reading(DeviceNo(1), 2, NOW, [3.0, None])
    assert fold.pending[DeviceNo(1)].vals == [3.0, 2.0]


def test_state_clamps_a_clock_that_is_years_off() -> None:
    fold = StateFold()
    fold.clock(DeviceNo(1), NOW, 10**12)
    assert fold.pending[DeviceNo(1)].clock_off_ms == CLOCK_LIMIT_MS


def test_portions_bound_a_transaction_by_payload() -> None:
    messages = [Inbound("t", b"x" * size, 1, n, False, NOW) for n, size in enumerate((4, 4, 4, 20, 1, 1))]
    cut = portions(messages, 8)
    assert [[m.token for m in portion] for portion in cut] == [[0, 1], [2], [3], [4, 5]]


@pytest.mark.parametrize(
    "wrong", [{"mqtt_client_prefix": ""}, {"worker_ttl_s": "0"}, {"mqtt_url": "http://h"}, {"worker": "A b"}]
)
def test_settings_refuse_what_cannot_be_meant(wrong: dict[str, str]) -> None:
    given: dict[str, Any] = {"database_url": "postgresql://x", "mqtt_url": "mqtt://h:1", **wrong}
    with pytest.raises(ValidationError):
        IngestSettings(**given)


def test_address_unquotes_what_a_url_cannot_hold() -> None:
    address = Address.parse("mqtt://svc-ingest:p%40ss%2F@broker:1884")
    assert address == Address("broker", 1884, "svc-ingest", "p@ss/")
