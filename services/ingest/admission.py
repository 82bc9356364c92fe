"""Which messages of a batch are more than their publisher may say, asked before anything is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from services.adapters.mqtt import Inbound
from services.domain.codecs import Decoded
from services.domain.codecs.topic import parse_topic
from services.domain.ids import DeviceId, DeviceNo
from services.domain.messages import DeviceEvent, Lane, Reason, Rejected
from services.ingest.checked import Flooded
from services.ingest.limits import Limiter
from services.ingest.registry import Registry

_DETAIL = "more messages than one publisher may send; slow down, and send again what was kept"


class Admission:
    """One limiter for all lanes of a worker, with what it must know of the publishers."""

    def __init__(self, limiter: Limiter) -> None:
        self.limiter = limiter
        self._registry: Registry | None = None
        self._publishers: dict[str, tuple[str, int]] = {}
        self._behind: Counter[DeviceNo | None] = Counter()

    def refused(
        self, messages: Sequence[Inbound], start: int, end: int, lane: Lane, registry: Registry
    ) -> dict[int, bool]:
        """Places of the messages that are too many → whether it is one to be kept, of the first few of its minute."""
        if registry is not self._registry:
            self._registry, self._publishers = registry, {}
            self._behind = Counter(device.gateway_no for device in registry.devices.values())
        publishers, admit = self._publishers, self.limiter.admit
        refused: dict[int, bool] = {}
        for source in range(start, end):
            topic, _, _, _, _, received_ms = messages[source]
            publisher = publishers.get(topic) or self._publisher(topic, registry)
            if publisher is not None and not admit(publisher[0], received_ms, lane, publisher[1]):
                refused[source] = self.limiter.is_specimen(publisher[0], received_ms)
        return refused

    def _publisher(self, topic: str, registry: Registry) -> tuple[str, int] | None:
        """(id, devices behind it). Remembered for registered devices only: others can invent topics without end."""
        parsed = parse_topic(topic)
        if isinstance(parsed, Rejected):
            return None
        device = registry.devices.get(parsed.device)
        if device is None:
            return parsed.device, 0
        publisher = parsed.device, self._behind[device.no]
        if not parsed.tail:
            self._publishers[topic] = publisher
        return publisher

    def refusal(self, device: DeviceId | None = None) -> Rejected:
        """It names no message id: it is not answered, so that its sender keeps it and offers it again."""
        return Rejected(Reason.FLOOD, _DETAIL, device)

    def sift(self, part: Decoded, publisher: DeviceId, received_ms: int, registry: Registry) -> Decoded:
        """A part of a message that was too many: a call for help passes, anything else is refused."""
        speaker = registry.devices.get(publisher)
        if isinstance(part, DeviceEvent) and speaker is not None:
            device = registry.find(speaker, part.device)
            if (
                device is not None
                and (device is speaker or device.gateway_no == speaker.no)
                and part.event in device.kind.calls_for_help
                and self.limiter.admit_call(device.id, received_ms)
            ):
                return part
        return self.refusal(part.device)

    def floods(self, now_ms: int, registry: Registry) -> list[Flooded]:
        """Who was refused and not told of yet; each is told of once a minute."""
        return [
            Flooded(device, flood.last_ms, flood.count)
            for flood in self.limiter.floods(now_ms)
            if (device := registry.devices.get(DeviceId(flood.publisher))) is not None
        ]
