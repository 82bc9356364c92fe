"""Ends the online state of devices that were shut out: mosquitto cuts them without publishing their last will."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from services.adapters.broker_identity import IDENTITY_ACCOUNT
from services.adapters.mqtt import Address

_FILTERS_AT_ONCE = 200
_POLL_S = 0.1


class NotAdmitted(Exception):
    """The broker did not take this file's password in time: it has not read the file, or does not answer."""


@dataclass(frozen=True, slots=True)
class ShutOut:
    """A device that may not log in any more, or not with the secret of the connection it had.

    `session` is the newest it is known to have had before it was cut: what it says in a newer one is true again.
    """

    id: str
    community: str
    retired: bool
    readmitted: bool
    online: bool
    session: int

    @property
    def topic(self) -> str:
        return f"sc/{self.community}/{self.id}/up/status"


def end_states(address: Address, secret: str, devices: Sequence[ShutOut], *, patience_s: float = 5.0) -> int:
    """Waits until the broker has read the file that `secret` came with, then tells each device's end; how many.

    The broker has cut their connections by then: it does so as it reads the file. Raises NotAdmitted.
    """
    link = _Link(address, secret)
    try:
        link.connect(patience_s)
        ended = 0
        for start in range(0, len(devices), _FILTERS_AT_ONCE):
            part = devices[start : start + _FILTERS_AT_ONCE]
            retained = link.retained([device.topic for device in part])
            for topic, payload, retain in _ends(part, retained, time.time_ns() // 1_000_000):
                link.publish(topic, payload, retain)
                ended += 1
        link.fence()
        return ended
    finally:
        link.close()


def end_sessions(address: Address, secret: str, logins: Sequence[str], *, patience_s: float = 5.0) -> None:
    """Throws away the broker's sessions of city platforms that may not log in any more, with what waits in them: the
    broker would keep both for ever. Their login is their client id, which a service may take over. Raises NotAdmitted.
    """
    for login in logins:
        link = _Link(address, secret, login)
        try:
            link.connect(patience_s)
        finally:
            link.close()


def _ends(devices: Sequence[ShutOut], retained: dict[str, bytes], now_ms: int) -> Iterator[tuple[str, bytes, bool]]:
    """(topic, payload, retain) of what has to be said so that none of them goes on looking online."""
    for device in devices:
        said = retained.get(device.topic)
        online, session = _online(said)
        if device.readmitted and session > device.session:
            continue
        if said and device.retired:
            # Nobody knows the device any more: its status is not to be found again by whoever subscribes next.
            yield device.topic, b"", True
        elif online:
            # One that is let in again may be back this very moment and have retained a newer session: that stays. In
            # the order of the sessions this end is not after it, however late it comes.
            yield device.topic, _offline(now_ms, max(session, 0)), not device.readmitted
        elif not said and device.online and not device.retired:
            yield device.topic, _offline(now_ms, device.session), False


def _offline(now_ms: int, session: int) -> bytes:
    return json.dumps({"ts": now_ms, "online": False, "session": session}).encode()


def _online(said: bytes | None) -> tuple[bool, int]:
    """(says that it is online, session): (False, -1) where nothing of ours is said."""
    try:
        body: Any = json.loads(said or b"null")
    except ValueError:
        return False, -1
    if not isinstance(body, dict):
        return False, -1
    session = body.get("session")
    return body.get("online") is True, session if type(session) is int else -1


class _Link:
    """One short connection of the identity account."""

    def __init__(self, address: Address, secret: str, name: str | None = None) -> None:
        self._address = address
        self._verdict: str | None = None
        self._answered = threading.Event()
        self._marked = threading.Event()
        self._mark = ""
        self._retained: dict[str, bytes] = {}
        self._secret = secret
        self._name = name or f"linhub-identity-{uuid4().hex[:8]}"
        self._prefix = f"linhub/identity/{self._name}/"
        self._client = self._new_client()

    def _new_client(self) -> Client:
        """One an attempt: a second `loop_start` of the same would leave the first one's sockets open."""
        client = Client(
            CallbackAPIVersion.VERSION2, self._name, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False
        )
        client.username_pw_set(IDENTITY_ACCOUNT, self._secret)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.max_queued_messages_set(0)
        return client

    def connect(self, patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        while True:
            self._answered.clear()
            self._verdict = None
            try:
                self._client.connect(self._address.host, self._address.port)
                self._client.loop_start()
                if self._answered.wait(5) and self._verdict == "Success":
                    self._client.subscribe(self._prefix + "#", qos=1)
                    return
                why = self._verdict or "no answer"
            except OSError as error:
                why = str(error)
            self.close()
            self._client = self._new_client()
            if time.monotonic() > deadline:
                raise NotAdmitted(why)
            time.sleep(_POLL_S)

    def retained(self, topics: Sequence[str]) -> dict[str, bytes]:
        """What the broker retains at each topic."""
        self._retained.clear()
        self._client.subscribe([(topic, 1) for topic in topics])
        # What is retained comes before what is published after the subscription.
        self.fence()
        found = dict(self._retained)
        self._client.unsubscribe(list(topics))
        return found

    def publish(self, topic: str, payload: bytes, retain: bool) -> None:
        self._client.publish(topic, payload, qos=1, retain=retain)

    def fence(self) -> None:
        """Until everything said so far went through the broker. Raises NotAdmitted when the connection is gone."""
        self._mark = self._prefix + uuid4().hex
        self._marked.clear()
        self._client.publish(self._mark, b"1", qos=1)
        if not self._marked.wait(30):
            raise NotAdmitted("the connection was lost")

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._verdict = str(reason)
        self._answered.set()

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        if message.topic == self._mark:
            self._marked.set()
        elif message.retain:
            self._retained[message.topic] = bytes(message.payload)
