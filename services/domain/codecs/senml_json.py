"""SenML as JSON (RFC 8428, section 5): `[{"bn", "bt", "bu", "n", "u", "v", "t", …}, …]`.

Base fields are resolved; times below 2**28 count from arrival; the unit stands behind the name: `temperature [Cel]`.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common import json
from services.domain.codecs.common.parts import total
from services.domain.codecs.common.senml import resolve
from services.domain.messages import Topic


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    return resolve(topic, json.document(payload))


CODEC = Codec("senml_json", total(_read))
