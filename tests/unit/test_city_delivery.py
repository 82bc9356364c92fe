"""What becomes of an attempt: waits, refusals, giving up; and what an event looks like on the wire."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary, from_structured
from cloudevents.core.formats.json import JSONFormat
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from services.adapters.city.signing import new_key, signed
from services.domain.city import CATALOGUE, CityEvent, DataClass, EventMark, Filter, OutboxRow, make
from services.domain.city.delivery import (
    GIVE_UP,
    LONGEST_ASKED_S,
    LONGEST_S,
    REFUSALS,
    REFUSED_FOR,
    Again,
    Attempt,
    Closed,
    GivenUp,
    Head,
    Taken,
    judge,
    retry_after_s,
    wait_s,
)
from services.domain.city.public import changed
from tests.city_kit import alert_data, order_data
from tests.said import lasting

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
FRESH = Head(0, 0, NOW, None)


def row(type: str, data: dict[str, Any], seq: int = 7, community: str = "test") -> OutboxRow:
    return OutboxRow(seq, NOW, type, community, str(data.get("id") or data.get("order_id") or "x"), data)


# -- what becomes of an attempt --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_taken_is_any_success(status: int) -> None:
    assert judge(Attempt(status), FRESH, NOW, 0.5) == Taken()


@pytest.mark.parametrize("status", [None, 301, 302, 307, 401, 403, 404, 408, 425, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again_and_is_no_refusal(status: int | None) -> None:
    outcome = judge(Attempt(status, "timeout"), FRESH, NOW, 0.5)
    assert isinstance(outcome, Again) and not outcome.refused and outcome.at > NOW


def test_gone_closes_the_way_at_once() -> None:
    assert isinstance(judge(Attempt(410), FRESH, NOW, 0.5), Closed)


def test_event_is_given_up_after_three_days_and_not_before() -> None:
    due = NOW - GIVE_UP
    assert isinstance(judge(Attempt(503), Head(40, 0, due + timedelta(seconds=1), due), NOW, 1.0), Again)
    outcome = judge(Attempt(503), Head(40, 0, due, due), NOW, 1.0)
    assert isinstance(outcome, GivenUp) and outcome.why == "expired: 503" and outcome.at > NOW


def test_refused_event_is_given_up_once_it_was_refused_often_and_long() -> None:
    since = NOW - REFUSED_FOR
    last = Head(30, REFUSALS - 1, since, since)
    outcome = judge(Attempt(422), last, NOW, 1.0)
    assert outcome == GivenUp("refused: 422", NOW)
    assert isinstance(judge(Attempt(422), Head(30, REFUSALS - 2, since, since), NOW, 1.0), Again)
    shortly = since + timedelta(seconds=1)
    assert isinstance(judge(Attempt(422), Head(30, REFUSALS - 1, shortly, shortly), NOW, 1.0), Again)
    assert isinstance(judge(Attempt(500), last, NOW, 1.0), Again), "a broken receiver refuses nothing"


@given(failures=st.integers(0, 10_000), chance=st.floats(0, 1), asked=st.one_of(st.none(), st.floats(0, 1e9)))
def test_wait_is_jittered_bounded_and_never_shorter_than_asked(
    failures: int, chance: float, asked: float | None
) -> None:
    wait = wait_s(failures, chance, asked)
    assert 0 < wait <= max(LONGEST_S, LONGEST_ASKED_S)
    assert wait >= min(asked or 0.0, LONGEST_ASKED_S)
    if asked is None:
        assert wait <= max(0.25, min(LONGEST_S, 2.0 ** min(failures, 40)))


def test_retry_after_is_seconds_or_a_date() -> None:
    assert retry_after_s("120", NOW) == 120
    assert retry_after_s("Sun, 22 Nov 2026 08:02:00 GMT", NOW) == 120
    assert retry_after_s("Sun, 22 Nov 2026 07:00:00 GMT", NOW) == 0
    for nonsense in (None, "", "soon", "-5", "１２", "1e3", "Foo, 99 Bar"):
        assert retry_after_s(nonsense, NOW) is None


# -- what an event looks like ----------------------------------------------------------------------------------------


def test_same_row_and_grants_give_the_same_bytes() -> None:
    first, second = (make(row("alert.raised", alert_data(id="a")), [DataClass.TEXT]) for _ in range(2))
    assert first.structured() == second.structured() and first.binary() == second.binary()


def _events() -> list[CityEvent]:
    return [
        make(
            row("alert.raised", alert_data(community="社区 1"), community="社区 1"),
            list(DataClass),
            base="https://x.cn",
        ),
        make(row("order.close", order_data()), []),
    ]


def test_structured_and_binary_are_read_alike_by_the_cloudevents_package() -> None:
    for event in _events():
        headers, body = event.structured()
        whole = from_structured(HTTPMessage(headers, body), JSONFormat())
        headers, body = event.binary()
        split = from_binary(HTTPMessage(headers, body), JSONFormat())
        for parsed in (whole, split):
            assert parsed.get_id() == "7" and parsed.get_type() == event.kind.name
            assert parsed.get_source() == event.source and parsed.get_subject() == event.subject
            assert parsed.get_time() == NOW and parsed.get_data() == dict(event.data)
            assert parsed.get_extension("mark") == "Actual"
            assert parsed.get_extension("sequence") == "00000000000000000007"


def test_a_class_that_is_not_granted_leaves_no_trace() -> None:
    for grants in ([], [DataClass.TEXT], [DataClass.LOCATION], [DataClass.DEVICE]):
        _, body = make(row("alert.raised", alert_data()), grants).structured()
        text = body.decode()
        assert ("燃气泄漏" in text) == (DataClass.TEXT in grants)
        assert ("501" in lasting(text)) == (DataClass.LOCATION in grants)
        assert ("test-gas-1" in text) == (DataClass.DEVICE in grants)
        assert "LEL" in text if DataClass.TEXT in grants else "LEL" not in text


def test_row_that_does_not_say_whether_it_is_about_health_counts_as_if_it_were() -> None:
    data = alert_data()
    del data["health"]
    event = make(row("alert.raised", data), list(DataClass))
    assert event.data["title"]["en"] == "Wellbeing check" and event.data["rule_id"] == "health"
    assert "why" not in event.data


def test_plan_that_was_begun_for_somebodys_health_does_not_say_which() -> None:
    data = {"run_id": "r", "plan_id": "heart", "version": 1, "alert_id": "a", "step": "call", "action": "notice",
            "title": {"zh": "心率", "en": "heart rate"}, "health": True}  # fmt: skip
    event = make(row("plan.step", data), list(DataClass))
    assert "heart" not in event.structured()[1].decode()
    assert (event.data["plan_id"], event.data["step"], event.data["action"]) == ("health", None, None)
    assert make(row("plan.step", data | {"health": False}), []).data["plan_id"] == "heart"


def test_mark_of_row_or_subscription_is_the_one_further_from_being_meant() -> None:
    said = order_data() | {"mark": "Exercise"}
    assert make(row("order.note", said), []).mark is EventMark.EXERCISE
    assert make(row("order.note", said), [], mark=EventMark.TEST).mark is EventMark.TEST
    assert make(row("order.note", order_data()), [], mark=EventMark.EXERCISE).mark is EventMark.EXERCISE
    assert make(row("order.note", order_data() | {"mark": "nonsense"}), []).mark is EventMark.ACTUAL


def test_filter_matches_by_pattern_and_grants() -> None:
    everything = Filter().types_for(list(DataClass))
    assert len(everything) == len(CATALOGUE)
    assert not any(one.startswith("device.") for one in Filter().types_for([]))
    assert Filter(("order.*",)).types_for([])[0] == "order.create"
    assert Filter(("alert.raised", "order.close")).types_for([]) == ["alert.raised", "order.close"]
    grave = Filter(severities=("critical",), kinds=("gas_alarm",))
    assert grave.takes(alert_data()) and not grave.takes(alert_data(severity="minor"))
    assert not grave.takes(alert_data(kind="bin")) and grave.takes({"report_id": "x"})


def test_small_steps_of_public_figures_add_up() -> None:
    told: dict[str, float | None] = {"noise_db": 50.0, "parking_left": 10.0}
    assert changed(told, {"noise_db": 53.0, "parking_left": 10.0}) == {}
    assert changed(told, {"noise_db": 53.1, "parking_left": 9.0}) == {"noise_db": 53.1, "parking_left": 9.0}
    assert changed(told, {"parking_left": 10.0}) == {"noise_db": None}


# -- signatures ------------------------------------------------------------------------------------------------------


def test_signature_is_verified_by_the_standardwebhooks_package() -> None:
    key, now = new_key("hmac"), datetime.now(UTC)
    for event in _events():
        for headers, body in (event.structured(), event.binary()):
            headers = headers | signed(event.id, now, body, [key])
            assert Webhook(key.secret).verify(body, headers)
            with pytest.raises(WebhookVerificationError):
                Webhook(key.secret).verify(body + b" ", headers)
            with pytest.raises(WebhookVerificationError):
                Webhook(new_key("hmac").secret).verify(body, headers)
            with pytest.raises(WebhookVerificationError):
                Webhook(key.secret).verify(body, headers | {"webhook-id": "8"})


def test_each_key_in_force_signs_so_that_keys_can_overlap() -> None:
    old, new, pair, now = new_key("hmac"), new_key("hmac"), new_key("ed25519"), datetime.now(UTC)
    headers = signed("7", now, b"{}", [new, old, pair])
    for key in (old, new):
        assert Webhook(key.secret).verify(b"{}", headers) == {}
    signatures = headers["webhook-signature"].split(" ")
    assert [one.partition(",")[0] for one in signatures] == ["v1", "v1", "v1a"]
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode((pair.public or "").removeprefix("whpk_")))
    said = base64.b64decode(signatures[2].partition(",")[2])
    message = f"7.{int(now.timestamp())}.".encode() + b"{}"
    public.verify(said, message)
    with pytest.raises(InvalidSignature):
        public.verify(said, message + b" ")
