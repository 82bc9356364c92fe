"""Wire formats: one file each, bytes in, messages or a reason for rejection out."""

from __future__ import annotations

from services.domain.codecs import native
from services.domain.codecs.codec import Codec, Decoded
from services.domain.messages import MAX_PAYLOAD_BYTES, Reason, Rejected, Topic

CODECS: tuple[Codec, ...] = (native.CODEC,)
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


__all__ = ["BY_NAME", "CODECS", "Codec", "Decoded", "decode"]
