"""SenML as CBOR (RFC 8428, section 6): the labels of table 4 as integers; text labels are understood as well."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common import cbor
from services.domain.codecs.common.parts import Bad, total
from services.domain.codecs.common.senml import resolve
from services.domain.messages import Topic

_LABELS = {
    -1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    if not payload:
        raise Bad("the message is empty")
    pack = cbor.loads(payload)
    return resolve(topic, [_record(record) for record in pack] if type(pack) is list else pack)


def _record(record: Any) -> Any:
    if type(record) is not dict:
        return record
    return {_LABELS.get(label, label): value for label, value in record.items()}


CODEC = Codec("senml_cbor", total(_read))
