"""The published schema, finished: refusals by their media type, whatever else may be refused, links to what is made."""

from __future__ import annotations

from typing import Any

from services.api.web.problems import MEDIA_TYPE

_PROBLEM = {"$ref": "#/components/schemas/Problem"}
_ELSE = {
    "description": "其他拒绝 · any other refusal, as problem details: 400 cursor, 405, 409, 412, 413, 428, 429 …",
    "content": {MEDIA_TYPE: {"schema": _PROBLEM}},
}
_PAGE = {
    "description": "页面 · a page for people, or plain text where nothing lives at the address",
    "content": {kind: {"schema": {"type": "string"}} for kind in ("text/html", "text/plain")},
}
_LINKS: dict[str, dict[str, tuple[str, str, str]]] = {
    "post /api/v1/communities/{community_id}/displays": {
        "read": ("get /api/v1/displays/{display_id}", "display_id", "/id"),
        "rename": ("put /api/v1/displays/{display_id}", "display_id", "/id"),
        "revoke": ("post /api/v1/displays/{display_id}/revoke", "display_id", "/id"),
    },
    "post /api/v1/service-accounts": {
        "key": ("post /api/v1/service-accounts/{account_id}/keys", "account_id", "/id"),
        "disable": ("post /api/v1/service-accounts/{account_id}/disable", "account_id", "/id"),
        "enable": ("post /api/v1/service-accounts/{account_id}/enable", "account_id", "/id"),
    },
    "post /api/v1/service-accounts/{account_id}/keys": {
        "rotate": ("post /api/v1/keys/{key_id}/rotate", "key_id", "/key/id"),
        "revoke": ("post /api/v1/keys/{key_id}/revoke", "key_id", "/key/id"),
    },
    "post /api/v1/displays/pairings": {
        "claim": ("post /api/v1/displays/pairings/{pairing_id}/claim", "pairing_id", "/id"),
    },
    "post /api/v1/communities/{community_id}/orders": {
        "read": ("get /api/v1/orders/{order_id}", "order_id", "/id"),
        "move": ("post /api/v1/orders/{order_id}/moves", "order_id", "/id"),
        "evidence": ("get /api/v1/orders/{order_id}/evidence", "order_id", "/id"),
        "notices": ("get /api/v1/orders/{order_id}/notices", "order_id", "/id"),
    },
    "post /api/v1/communities/{community_id}/silences": {
        "end": ("post /api/v1/silences/{silence_id}/end", "silence_id", "/id"),
    },
}
"""What is made, and where to go on with it: (operation, parameter, where its value stands in the answer)."""
_BODIES: dict[tuple[str, str], dict[str, str]] = {
    ("post /api/v1/displays/pairings", "claim"): {"secret": "$response.body#/secret"}
}
"""What such a call says, of what the answer before it said."""


def finish(schema: dict[str, Any]) -> None:
    """In place."""
    operations = {
        f"{method} {path}": operation for path, item in schema["paths"].items() for method, operation in item.items()
    }
    for name, operation in operations.items():
        for response in operation["responses"].values():
            if any(body.get("schema") == _PROBLEM for body in response.get("content", {}).values()):
                response["content"] = {MEDIA_TYPE: {"schema": _PROBLEM}}
        operation["responses"].setdefault("default", _PAGE if name.partition(" ")[2].startswith("/n/") else _ELSE)
    for name, links in _LINKS.items():
        if name not in operations:
            continue
        made = next(response for status, response in operations[name]["responses"].items() if status.startswith("2"))
        made["links"] = {
            link: {
                "operationId": operations[target]["operationId"],
                "parameters": {parameter: f"$response.body#{pointer}"},
            }
            | ({"requestBody": _BODIES[name, link]} if (name, link) in _BODIES else {})
            for link, (target, parameter, pointer) in links.items()
            if target in operations
        }
