"""JSON Schemas (2020-12) of what is published, generated from the payload models."""

from __future__ import annotations

from typing import Any

from services.domain.city.catalogue import CityEventType
from services.domain.city.envelope import SEQUENCE_DIGITS
from services.domain.city.vocabulary import EventMark

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(kind: CityEventType) -> dict[str, Any]:
    """Of the `data` of one type, as it is sent under any grants: a field of a data class may be missing. Fields may be
    added to a version; what reads it must let pass what it does not know."""
    schema = kind.model.model_json_schema(mode="serialization")
    schema = _inlined(schema, schema.pop("$defs", {}))
    gated = kind.model.gated()
    schema["required"] = [name for name in schema["properties"] if name not in gated]
    for field in schema["properties"].values():
        field.pop("default", None)
    schema.pop("description", None)
    return {
        "$schema": DIALECT,
        "$id": kind.schema_id,
        **schema,
        "title": kind.name,
        "description": f"{kind.label.zh} · {kind.label.en}",
    }


def envelope_schema(kind: CityEventType) -> dict[str, Any]:
    """Of a whole event in the structured mode. `mark` is ours; `sequence` and `partitionkey` are documented extensions
    of CloudEvents."""
    text = {"type": "string", "minLength": 1}
    properties: dict[str, Any] = {
        "specversion": {"const": "1.0"},
        "id": text,
        "source": {"type": "string", "format": "uri-reference", "minLength": 1},
        "type": {"const": kind.name},
        "subject": text,
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"const": "application/json"},
        "dataschema": {"const": kind.schema_id},
        "partitionkey": text,
        "sequence": {"type": "string", "pattern": f"^[0-9]{{{SEQUENCE_DIGITS}}}$"},
        "mark": {"enum": [one.value for one in EventMark]},
        "data": {key: value for key, value in schema_of(kind).items() if key not in ("$schema", "$id")},
    }
    required = [name for name in properties if name != "sequence"]
    return {"type": "object", "properties": properties, "required": required}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Without references: wherever a schema is put, it says all of itself. The models hold no cycles."""
    if isinstance(schema, list):
        return [_inlined(one, definitions) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    return {name: _inlined(one, definitions) for name, one in schema.items()}
