"""The AsyncAPI 3.0 document of city events, generated from the catalogue."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from services.domain.city.catalogue import CATALOGUE, TEST, CityEventType
from services.domain.city.mqtt import ABOVE, PREVIOUS, ROOT
from services.domain.city.schemas import envelope_schema


def asyncapi(base: str, prefix: str, broker: str | None = None) -> dict[str, Any]:
    """`base`: where this system is reached, '' where nobody said; `prefix`: of the API's paths; `broker`: where its
    broker is, as mqtt:// or mqtts://, None where nobody said."""
    messages = {kind.name: _message(kind) for kind in (*CATALOGUE, TEST)}
    streamed = [kind.name for kind in CATALOGUE]
    parts = urlsplit(base or "http://localhost")
    there = urlsplit(broker or f"mqtt://{parts.hostname}:1883")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "LinHub 邻枢 city events",
            "version": "1.0.0",
            "description": "What happens in a community, as CloudEvents 1.0, to those who subscribed to it. "
            "At least once, each subscription in order.",
        },
        "defaultContentType": "application/json",
        "servers": {
            "api": {
                "host": parts.netloc,
                "protocol": parts.scheme,
                "description": "Where events are pulled and streamed from",
                "security": [{"$ref": "#/components/securitySchemes/key"}],
            },
            "broker": {
                "host": there.netloc,
                "protocol": "secure-mqtt" if there.scheme == "mqtts" else "mqtt",
                "protocolVersion": "5.0",
                "description": "Where MQTT subscribers log in, each with a login of its own",
                "security": [{"$ref": "#/components/securitySchemes/login"}],
            },
        },
        "channels": {
            "webhook": {
                "address": None,
                "title": "Webhook",
                "description": "The receiver's own address, given with the subscription. POST, signed by Standard "
                "Webhooks (webhook-id, webhook-timestamp, webhook-signature).",
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            },
            "mqtt": {
                "address": f"{ROOT}/{{subscription}}/{{community}}/{{family}}/{{what}}",
                "title": "MQTT 5",
                "description": "CloudEvents by the MQTT protocol binding 1.0.2, structured (default) or binary, QoS 1, "
                f"never retained. The user property `{PREVIOUS}` is the sequence of the event sent before.",
                "servers": [{"$ref": "#/servers/broker"}],
                "parameters": {
                    "subscription": {"description": "Id of the subscription"},
                    "community": {"description": f"Id of the community; {ABOVE} for what is of none"},
                    "family": {"description": "What the event is about, such as alert"},
                    "what": {"description": "What became of it, such as raised"},
                },
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
            },
            "stream": {
                "address": f"{prefix}/city/events/stream",
                "title": "Server-sent events",
                "description": "`id` is the cursor to come again with.",
                "servers": [{"$ref": "#/servers/api"}],
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in streamed},
            },
            "pull": {
                "address": f"{prefix}/city/events",
                "title": "Pages after a cursor",
                "description": "GET; the events of a page are in `items`, the next cursor in `next`.",
                "servers": [{"$ref": "#/servers/api"}],
                "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in streamed},
            },
        },
        "operations": {
            "deliver": _sends("webhook", list(messages), {"http": {"method": "POST", "bindingVersion": "0.3.0"}}),
            "publish": _sends("mqtt", list(messages), {"mqtt": {"qos": 1, "retain": False, "bindingVersion": "0.2.0"}}),
            "stream": _sends("stream", streamed, {"http": {"method": "GET", "bindingVersion": "0.3.0"}}),
            "pull": _sends("pull", streamed, {"http": {"method": "GET", "bindingVersion": "0.3.0"}}),
        },
        "components": {
            "messages": messages,
            "schemas": {kind.name: _schema(kind) for kind in (*CATALOGUE, TEST)},
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "A key or an access token"},
                "login": {
                    "type": "userPassword",
                    "description": "A login of the subscription, also the client id",
                },
            },
        },
    }


def _sends(channel: str, names: list[str], bindings: dict[str, Any]) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in names],
        "bindings": bindings,
    }


def _message(kind: CityEventType) -> dict[str, Any]:
    message = {
        "name": kind.name,
        "title": kind.label.en,
        "summary": f"{kind.label.zh} · {kind.label.en}",
        "contentType": "application/cloudevents+json",
        "payload": {"$ref": f"#/components/schemas/{kind.name}"},
    }
    if kind.requires:
        needs = ", ".join(sorted(one.value for one in kind.requires))
        message["description"] = f"Sent only where `{needs}` is granted."
    return message


def _schema(kind: CityEventType) -> dict[str, Any]:
    return {"schemaFormat": "application/schema+json;version=draft-2020-12", "schema": envelope_schema(kind)}
