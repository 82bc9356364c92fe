"""The application acknowledgement: what a device waits for before it forgets a message."""

from __future__ import annotations

import json
from collections.abc import Sequence

from services.adapters.mqtt import Inbound
from services.domain.codecs.topic import parse_topic
from services.domain.messages import Rejected
from services.ingest.checked import Checked, Outcome


def acknowledgements(messages: Sequence[Inbound], checked: Checked) -> list[tuple[str, bytes]]:
    """(topic, payload) of each publisher of the batch whose messages carry ids; a gateway's go to the gateway."""
    accepted: dict[str, list[str]] = {}
    rejected: dict[str, list[dict[str, str]]] = {}
    for place, accepted_id in checked.plain.ids:
        accepted.setdefault(messages[checked.plain.sources[place]].topic, []).append(accepted_id)
    for item in (*checked.readings, *checked.happenings):
        if item.message_id is None:
            continue
        topic = messages[item.source].topic
        if item.refusal is None:
            accepted.setdefault(topic, []).append(item.message_id)
        else:
            rejected.setdefault(topic, []).append(_rejection(item.message_id, item.refusal))
    for refusal in checked.refusals:
        message_id = refusal.rejected.message_id
        if message_id is not None:
            topic = messages[refusal.source].topic
            rejected.setdefault(topic, []).append(_rejection(message_id, refusal.rejected))
    result = []
    for topic in accepted.keys() | rejected.keys():
        parsed = parse_topic(topic)
        if isinstance(parsed, Rejected):
            continue
        body = {"ids": accepted.get(topic, []), "rejected": rejected.get(topic, [])}
        result.append(
            (f"sc/{parsed.community}/{parsed.device}/down/ack", json.dumps(body, ensure_ascii=False).encode())
        )
    return result


def _rejection(message_id: str, why: Rejected) -> dict[str, str]:
    return {"id": message_id, "reason": why.reason.value, "detail": why.detail}


def outcome_counts(checked: Checked) -> dict[Outcome, int]:
    counts = dict.fromkeys(Outcome, 0)
    counts[Outcome.STORED] = len(checked.plain.sources)
    for items in (checked.readings, checked.happenings, checked.statuses):
        for item in items:
            counts[item.outcome] += 1
    counts[Outcome.REJECTED] += len(checked.refusals)
    return counts
