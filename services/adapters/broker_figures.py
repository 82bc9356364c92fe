"""What the broker says of itself under `$SYS`."""

from __future__ import annotations

import time
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from services.adapters.mqtt import Address

DROPPED = "$SYS/broker/publish/messages/dropped"
"""Messages thrown away since the broker started, because a queue was at its limit."""


def read_figure(address: Address, topic: str, *, patience_s: float = 3.0) -> int | None:
    """The number retained at a topic of `$SYS`; None where the broker does not say."""
    said: list[bytes] = []

    def heard(_: Client, __: object, message: MQTTMessage) -> None:
        said.append(bytes(message.payload))

    def subscribe(client: Client, *_: object) -> None:
        client.subscribe(topic)

    client = Client(CallbackAPIVersion.VERSION2, f"linhub-figures-{uuid4().hex[:8]}", reconnect_on_failure=False)
    client.username_pw_set(address.username, address.password)
    client.on_connect = subscribe
    client.on_message = heard
    deadline = time.monotonic() + patience_s
    try:
        client.connect(address.host, address.port)
        while not said and time.monotonic() < deadline:
            if client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return None
    except OSError:
        return None
    finally:
        client.disconnect()
    try:
        return int(said[0]) if said else None
    except ValueError:
        return None
