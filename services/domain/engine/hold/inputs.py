"""What people decided about sending, as the fold is given it: silences and caps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.domain.engine.hold.caps import Caps, caps_of
from services.domain.engine.hold.silences import Silence


@dataclass(frozen=True, slots=True)
class HoldInputs:
    """Silences by community, and the caps of each; a community that is not there has the defaults of a small one."""

    silences: Mapping[str, tuple[Silence, ...]] = field(default_factory=dict)
    caps: Mapping[str, Caps] = field(default_factory=dict)

    def caps_in(self, community_id: str) -> Caps:
        return self.caps.get(community_id) or caps_of(0)


def hold_inputs(silences: Iterable[Silence], caps: Mapping[str, Caps]) -> HoldInputs:
    found: dict[str, list[Silence]] = {}
    for silence in silences:
        found.setdefault(silence.community_id, []).append(silence)
    return HoldInputs({community: tuple(sorted(of, key=lambda s: s.id)) for community, of in found.items()}, caps)
