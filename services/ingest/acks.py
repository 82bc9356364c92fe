"""The application acknowledgement: what a device waits for before it forgets a message."""

from __future__ import annotations

import json
from collections.abc import Sequence

from services.adapters.mqtt import Inbound
from services.domain.codecs import reply
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
        if item.message_id is None or item.source in checked.foreign:
            continue
        topic = messages[item.source].topic
        if item.refusal is None:
            accepted.setdefault(topic, []).append(item.message_id)
        else:
            rejected.setdefault(topic, []).append(_rejection(item.message_id, item.refusal))
    for refusal in checked.refusals:
        message_id = refusal.rejected.message_id
        if message_id is not None and refusal.source not in checked.foreign:
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


def foreign_replies(messages: Sequence[Inbound], checked: Checked) -> list[tuple[str, bytes]]:
    """(topic, payload) of each foreign message whose format has an answer of its own.

    A message is refused only where nothing of it was kept: sending it again would change nothing.
    """
    kept: set[int] = set()
    refused: dict[int, str] = {}
    for item in checked.items():
        if item.refusal is None:
            kept.add(item.source)
        else:
            refused.setdefault(item.source, item.refusal.detail)
    for refusal in checked.refusals:
        refused.setdefault(refusal.source, refusal.rejected.detail)
    result = []
    for source, name in checked.foreign.items():
        topic = parse_topic(messages[source].topic)
        if isinstance(topic, Rejected):
            continue
        answer = reply(name, topic, messages[source].payload, None if source in kept else refused.get(source))
        if answer is not None and not set(answer[0]) & set("+#\0"):
            result.append((f"sc/{topic.community}/{topic.device}/down/reply/{answer[0]}", answer[1]))
    return result


def _rejection(message_id: str, why: Rejected) -> dict[str, str]:
    return {"id": message_id, "reason": why.reason.value, "detail": why.detail}


def outcome_counts(checked: Checked, heard_again: int = 0) -> dict[Outcome, int]:
    counts = dict.fromkeys(Outcome, 0)
    counts[Outcome.STORED] = len(checked.plain.sources)
    for items in (checked.readings, checked.happenings, checked.statuses):
        for item in items:
            counts[item.outcome] += 1
    counts[Outcome.REJECTED] += len(checked.refusals) - heard_again
    counts[Outcome.DUPLICATE] += heard_again
    return counts
