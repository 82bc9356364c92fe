"""CloudEvents as MQTT messages (CloudEvents MQTT protocol binding 1.0.2): topic, content and properties of an event."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.domain.city.envelope import SEQUENCE_DIGITS, STRUCTURED_TYPE, CityEvent
from services.domain.city.vocabulary import Format

ROOT = "city"
PREVIOUS = "previous"
"""The user property that names the sequence of what was sent before: who has not had that has a gap."""
ABOVE = "-"
"""The level of the community in the topic of an event that is of none."""
_LEAST_S = 1
_MOST_S = 0xFFFF_FFFE


@dataclass(frozen=True, slots=True)
class Published:
    """One PUBLISH. `user`: names and values in their order; `expires_s`: after that the broker need not keep it."""

    topic: str
    payload: bytes
    content_type: str
    user: tuple[tuple[str, str], ...]
    expires_s: int


def folder(subscriber: str) -> str:
    """What a subscriber may read, and nobody else."""
    return f"{ROOT}/{subscriber}"


def topic_of(subscriber: str, event: CityEvent) -> str:
    """`city/{subscriber}/{community}/{family}/{what}`; ids of communities have no character with a meaning here."""
    return "/".join((folder(subscriber), event.community_id or ABOVE, *event.kind.type.split(".", 1)))


def published(
    subscriber: str, event: CityEvent, format: Format, previous: int | None, now: datetime, kept: timedelta
) -> Published:
    """`previous`: number of what was sent before, None where nothing was. `kept`: how long the outbox holds a row;
    what is left of that is how long the message lives."""
    left = event.time + kept - now
    expires = int(min(max(left.total_seconds(), _LEAST_S), _MOST_S))
    chain = ((PREVIOUS, str(previous).zfill(SEQUENCE_DIGITS)),) if previous is not None and event.seq else ()
    if format is Format.BINARY:
        # 3.1.3: attributes are user properties as they are; the content type is datacontenttype.
        attributes = event.attributes()
        media = attributes.pop("datacontenttype")
        _, body = event.binary()
        return Published(topic_of(subscriber, event), body, media, (*attributes.items(), *chain), expires)
    _, body = event.structured()
    return Published(topic_of(subscriber, event), body, STRUCTURED_TYPE, chain, expires)
