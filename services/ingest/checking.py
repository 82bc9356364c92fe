"""From messages to a checked batch: who may speak, what it says, and what of it can be used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from services.adapters.mqtt import Inbound
from services.domain.codecs import NATIVE, decode
from services.domain.codecs.topic import parse_topic
from services.domain.messages import Lane, Reason, Rejected, Topic
from services.ingest import core, failpoints
from services.ingest.admission import Admission
from services.ingest.checked import NO_COMMUNITY, Checked, Refusal
from services.ingest.plain import PlainReader
from services.ingest.registry import Registry
from services.ingest.registry_keeper import RegistryKeeper

log = structlog.get_logger(__name__)

SLICE = 200
"""Messages checked, or acknowledged, before the event loop gets its turn: about 3 ms."""
_PLAIN_SLICE = 1_000
"""The same for messages that go the short way."""
_STRANGERS = (Reason.UNKNOWN_DEVICE, Reason.WRONG_COMMUNITY, Reason.NOT_YOUR_DEVICE)


class Checker:
    """Of one lane. Nothing that a device can send makes it raise."""

    def __init__(self, lane: Lane, registry: RegistryKeeper, admission: Admission) -> None:
        self._lane = lane
        self._registry = registry
        self._admission = admission
        self._read_plain = failpoints.wrap("plain", PlainReader().read)
        self._long_way_only = failpoints.armed_at("decode", "check")
        self._decode = failpoints.wrap("decode", decode)
        self._core_check = failpoints.wrap("check", core.check)

    async def check(self, messages: Sequence[Inbound], admitted: bool = False) -> Checked:
        """`admitted`: these were let in before."""
        before = self._registry.current
        flooded: dict[int, bool] = {}
        if not admitted:
            for start in range(0, len(messages), _PLAIN_SLICE):
                end = min(start + _PLAIN_SLICE, len(messages))
                flooded |= self._admission.refused(messages, start, end, self._lane, before)
        checked = await self._check_against(messages, before, flooded)
        if any(refusal.rejected.reason in _STRANGERS for refusal in checked.refusals):
            # A device may speak before the news of its registration has reached us.
            await self._registry.refresh_if_older(1.0)
            if self._registry.current is not before:
                checked = await self._check_against(messages, self._registry.current, flooded)
        if messages:
            checked.floods = self._admission.floods(messages[-1].received_ms, self._registry.current)
        return checked

    async def _check_against(
        self, messages: Sequence[Inbound], registry: Registry, flooded: dict[int, bool]
    ) -> Checked:
        checked, rest = Checked(), list(range(len(messages)))
        if not self._long_way_only:
            try:
                rest = await self._short_way(checked, messages, registry, flooded)
            except Exception:
                # Whatever it is that the short way stumbles over, the long way looks at each message by itself.
                log.exception("plain_fault", messages=len(messages))
                checked = Checked()
        for done, source in enumerate(rest, start=1):
            self._check_one(checked, source, messages[source], registry, flooded.get(source))
            if done % SLICE == 0:
                await asyncio.sleep(0)
        return checked

    async def _short_way(
        self, checked: Checked, messages: Sequence[Inbound], registry: Registry, flooded: dict[int, bool]
    ) -> list[int]:
        """Places of the messages that it left to the long way."""
        rest: list[int] = []
        for start in range(0, len(messages), _PLAIN_SLICE):
            end = min(start + _PLAIN_SLICE, len(messages))
            rest += self._read_plain(checked, messages, start, end, registry, flooded)
            await asyncio.sleep(0)
        return rest

    def _check_one(
        self, checked: Checked, source: int, message: Inbound, registry: Registry, flooded: bool | None = None
    ) -> None:
        topic = parse_topic(message.topic)
        if isinstance(topic, Rejected):
            checked.refusals.append(Refusal(source, topic, None, NO_COMMUNITY))
            return
        if flooded is not None and self._lane is Lane.TELEMETRY:
            checked.refusals.append(_flood(source, topic, self._admission.refusal(topic.device), flooded, registry))
            return
        publisher = registry.devices.get(topic.device)
        if publisher is not None and publisher.codec != NATIVE:
            checked.foreign[source] = publisher.codec
        try:
            parts = self._decode("native" if publisher is None else publisher.codec, topic, message.payload)
        except Exception:
            log.exception("decoder_fault", topic=message.topic, size=len(message.payload))
            parts = [Rejected(Reason.MALFORMED, "the decoder failed on this payload", topic.device)]
        if message.retained and source in checked.foreign:
            parts = core.heard_again(parts)
        known = len(checked.statuses)
        for part in parts:
            if flooded is not None:
                part = self._admission.sift(part, topic.device, message.received_ms, registry)
                if isinstance(part, Rejected):
                    checked.refusals.append(_flood(source, topic, part, flooded, registry))
                    continue
            try:
                self._core_check(checked, source, message.received_ms, topic, part, registry)
            except Exception:
                log.exception("check_fault", topic=message.topic)
                fault = Rejected(Reason.MALFORMED, "the check failed on this message", topic.device)
                core.check(checked, source, message.received_ms, topic, fault, registry)
        if message.retained:
            for status in checked.statuses[known:]:
                status.repeated = True


def _flood(source: int, topic: Topic, why: Rejected, keep: bool, registry: Registry) -> Refusal:
    return Refusal(source, why, topic.community, registry.communities.get(topic.community, NO_COMMUNITY), keep)
