"""Wire formats: one file each, bytes in, messages or a reason for rejection out."""

from __future__ import annotations

from services.domain.codecs import (
    aliyun,
    chirpstack,
    cjt188,
    dlt645,
    gbt26875,
    huawei,
    native,
    onenet,
    senml_cbor,
    senml_json,
    tasmota,
    tencent,
    thingsboard,
    zigbee2mqtt,
)
from services.domain.codecs.codec import Codec, Decoded
from services.domain.messages import MAX_PAYLOAD_BYTES, Reason, Rejected, Topic

NATIVE = native.CODEC.name

CODECS: tuple[Codec, ...] = (
    native.CODEC,
    senml_json.CODEC,
    senml_cbor.CODEC,
    onenet.CODEC,
    aliyun.CODEC,
    huawei.CODEC,
    tencent.CODEC,
    thingsboard.CODEC,
    tasmota.CODEC,
    zigbee2mqtt.CODEC,
    chirpstack.CODEC,
    cjt188.CODEC,
    dlt645.CODEC,
    gbt26875.CODEC,
)
BY_NAME: dict[str, Codec] = {codec.name: codec for codec in CODECS}


def decode(codec_name: str, topic: Topic, payload: bytes) -> list[Decoded]:
    """What the payload says, part by part and never empty: a part that cannot be used does not cost the others.

    `codec_name` is that of the device that published. Never raises for anything a device can send.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        return [Rejected(Reason.TOO_LARGE, f"{len(payload)} bytes; at most {MAX_PAYLOAD_BYTES} are taken")]
    codec = BY_NAME.get(codec_name)
    if codec is None:
        return [Rejected(Reason.MALFORMED, f"the device is registered with an unknown format: {codec_name}")]
    return codec.decode(topic, payload)


def reply(codec_name: str, topic: Topic, payload: bytes, refused: str | None) -> tuple[str, bytes] | None:
    """As Codec.reply; None where the format has none, or for a message that was too large to be read."""
    codec = BY_NAME.get(codec_name)
    if codec is None or codec.reply is None or len(payload) > MAX_PAYLOAD_BYTES:
        return None
    return codec.reply(topic, payload, refused)


__all__ = ["BY_NAME", "CODECS", "NATIVE", "Codec", "Decoded", "decode", "reply"]
