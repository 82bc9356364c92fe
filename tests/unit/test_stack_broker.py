"""The broker's configuration, access list and password hashes."""

from __future__ import annotations

import base64
import hashlib

import pytest

from deploy.embedded.broker import SHIPPED, accounts, render
from services.adapters.broker_identity import IDENTITY_ACCOUNT, SERVICE_ACCOUNTS, new_secret, secret_hash
from services.cli.checks import judge_broker


def test_broker_configuration_is_rendered_to_loopback() -> None:
    text = render((SHIPPED / "mosquitto.conf").read_text(), {"/mosquitto/data": "/home/d"}, 20001, 20002)
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("listener")] == [
        "listener 20001 127.0.0.1",
        "listener 20002 127.0.0.1",
    ]
    assert "persistence_location /home/d/" in lines
    # What belongs to a listener follows it: only devices are held to their login name.
    first, second = (lines.index(line) for line in lines if line.startswith("listener"))
    assert first < lines.index("use_username_as_clientid true") < second


@pytest.mark.parametrize("edit", [("listener 1884", "listener 1885"), ("listener 1883", "")])
def test_broker_configuration_without_its_listeners_is_refused(edit: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="listener"):
        render((SHIPPED / "mosquitto.conf").read_text().replace(*edit), {}, 1, 2)


def test_broker_configuration_without_a_path_to_replace_is_refused() -> None:
    with pytest.raises(ValueError, match="/mosquitto/elsewhere"):
        render((SHIPPED / "mosquitto.conf").read_text(), {"/mosquitto/elsewhere": "/x"}, 1, 2)


def test_broker_accounts_are_those_of_the_access_list() -> None:
    assert set(accounts((SHIPPED / "acl").read_text())) == {*SERVICE_ACCOUNTS, IDENTITY_ACCOUNT}


def test_broker_limits_as_shipped_are_enough() -> None:
    assert {finding.level for finding in judge_broker((SHIPPED / "mosquitto.conf").read_text())} == {"ok"}


@pytest.mark.parametrize(
    ("edit", "subject"),
    [
        (("max_queued_messages 3500000", "max_queued_messages 1000"), "max_queued_messages"),
        (("max_inflight_messages 20000", ""), "max_inflight_messages"),
        (("allow_anonymous false", "allow_anonymous true"), "allow_anonymous"),
    ],
)
def test_broker_limits_below_the_shipped_ones_are_found(edit: tuple[str, str], subject: str) -> None:
    text = (SHIPPED / "mosquitto.conf").read_text()
    assert edit[0] in text
    assert [f.subject for f in judge_broker(text.replace(*edit)) if f.level == "broken"] == [subject]


def test_broker_limit_of_zero_is_none() -> None:
    text = (SHIPPED / "mosquitto.conf").read_text().replace("max_queued_messages 3500000", "max_queued_messages 0")
    assert all(finding.level == "ok" for finding in judge_broker(text))


def test_secret_hash_is_what_mosquitto_reads() -> None:
    empty, seven, iterations, salt, digest = secret_hash("gāo", iterations=3).split("$")
    assert (empty, seven, iterations) == ("", "7", "3")
    assert len(base64.b64decode(salt)) == 12
    again = hashlib.pbkdf2_hmac("sha512", "gāo".encode(), base64.b64decode(salt), 3)
    assert base64.b64decode(digest) == again


def test_secret_hash_is_salted() -> None:
    assert secret_hash("same") != secret_hash("same")


def test_new_secret_needs_no_quoting() -> None:
    secret = new_secret()
    assert secret.isalnum()
    assert len(secret) == 32
    assert secret != new_secret()
