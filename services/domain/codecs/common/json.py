"""JSON from a device: one document, or why it is none."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from services.domain.codecs.common.parts import Bad, shape


def document(payload: bytes) -> Any:
    """NaN, Infinity and what nests too deep are refused; of a name given twice the last counts."""
    try:
        return from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        words = "the message is empty" if not payload.strip() else f"not JSON: {error}"
        raise Bad(words) from None


def obj(payload: bytes) -> dict[str, Any]:
    value = document(payload)
    if type(value) is not dict:
        raise Bad(f"expected an object, got {shape(value)}")
    return value
