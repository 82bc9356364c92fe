"""What a receiver proves before it believes a webhook: its signature, how old it is, and that it is an event.

Written from Standard Webhooks and CloudEvents 1.0 alone; it shares no line with what signs, so each proves the other.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

TOLERANCE_S = 300
"""So far a timestamp may lie from this clock, either way."""
_NEEDED = ("id", "source", "type", "specversion")


class Refused(Exception):
    """Not to be believed; `status` is what is answered."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True, slots=True)
class Key:
    """`whsec_…`: a shared secret; `whpk_…`: the public half of a key pair."""

    version: str
    raw: bytes

    def proves(self, signature: bytes, message: bytes) -> bool:
        if self.version == "v1":
            return hmac.compare_digest(hmac.digest(self.raw, message, sha256), signature)
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        return True


def read_key(text: str) -> Key:
    """Raises ValueError; the text of a secret is never in it."""
    for prefix, version in (("whsec_", "v1"), ("whpk_", "v1a")):
        if text.startswith(prefix):
            try:
                raw = base64.b64decode(text.removeprefix(prefix), validate=True)
            except binascii.Error:
                break
            if (version == "v1" and len(raw) >= 16) or (version == "v1a" and len(raw) == 32):
                return Key(version, raw)
    raise ValueError("a key begins with whsec_ or whpk_ and is base64 behind it · 密钥以 whsec_ 或 whpk_ 开头")


@dataclass(frozen=True, slots=True)
class Event:
    """`whole`: every attribute was under the signature; in the binary mode they are headers, which are not."""

    id: str
    source: str
    type: str
    subject: str
    time: datetime | None
    mark: str
    sequence: int
    data: Mapping[str, Any]
    whole: bool


def proven(headers: Mapping[str, str], body: bytes, keys: Sequence[Key], now: datetime) -> Event:
    """The event, or why it is not one. `headers`: names in small letters. Raises Refused."""
    id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not id or not stamp.isascii() or not stamp.isdigit() or len(stamp) > 12:
        raise Refused(401, "unsigned 未签名")
    if abs(now.timestamp() - int(stamp)) > TOLERANCE_S:
        raise Refused(401, "old timestamp 时间戳过期")
    message = b".".join((id.encode(), stamp.encode(), body))
    if not any(_signed(one, message, keys) for one in headers.get("webhook-signature", "").split()):
        raise Refused(401, "wrong signature 签名错误")
    event = _event(headers, body)
    if event.id != id:
        raise Refused(400, "id of the event is not that of the request 事件编号与请求不符")
    return event


def _signed(one: str, message: bytes, keys: Sequence[Key]) -> bool:
    version, _, text = one.partition(",")
    try:
        signature = base64.b64decode(text, validate=True)
    except binascii.Error:
        return False
    return any(key.version == version and key.proves(signature, message) for key in keys)


def _event(headers: Mapping[str, str], body: bytes) -> Event:
    """Structured or binary mode of CloudEvents over HTTP. Raises Refused."""
    attributes = {name[3:]: unquote(text) for name, text in headers.items() if name.startswith("ce-")}
    return _read(headers.get("content-type", ""), attributes, body)


def heard(content_type: str, user: Mapping[str, str], body: bytes) -> Event:
    """The same over MQTT 5, where attributes are user properties as they are. Nothing is signed there: the login and
    the topic say whom it is from. Raises Refused."""
    event = _read(content_type, user, body)
    return replace(event, whole=False)


def _read(content_type: str, outside: Mapping[str, str], body: bytes) -> Event:
    """`outside`: attributes beside the body, which count in the binary mode. Raises Refused."""
    media = content_type.partition(";")[0].strip().lower()
    try:
        said = json.loads(body)
    except ValueError:
        raise Refused(400, "no JSON 不是 JSON") from None
    structured = media == "application/cloudevents+json"
    if structured:
        attributes, data = (said, said.get("data")) if isinstance(said, dict) else ({}, None)
    else:
        attributes, data = dict(outside), said
    lacking = [name for name in _NEEDED if not isinstance(attributes.get(name), str) or not attributes[name]]
    if lacking or attributes["specversion"] != "1.0" or not isinstance(data, dict):
        raise Refused(400, f"no CloudEvent 1.0 不是 CloudEvent: {', '.join(lacking) or 'specversion, data'}")
    sequence = str(attributes.get("sequence", ""))
    return Event(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        subject=str(attributes.get("subject", "")),
        time=_time(attributes.get("time")),
        mark=str(attributes.get("mark", "")),
        sequence=int(sequence) if sequence.isascii() and sequence.isdigit() and len(sequence) <= 20 else 0,
        data=data,
        whole=structured,
    )


def _time(text: Any) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return at if at.tzinfo is not None else None
