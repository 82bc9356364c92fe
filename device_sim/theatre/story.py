"""What a story is: which devices it needs, what they do, and what must come of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from services.domain.vocabulary import Label, Severity, Team

if TYPE_CHECKING:
    from device_sim.theatre.performance import Performance


class Stage(Protocol):
    """Where a story's devices act. Everything said is awaited until it is stored; StoryError where it is not."""

    def now_ms(self) -> int: ...

    async def event(self, device: str, name: str, data: Mapping[str, Any], ts_ms: int) -> None: ...

    async def reading(self, device: str, values: Mapping[str, Any], ts_ms: int) -> None: ...

    async def status(self, device: str, online: bool) -> None:
        """Whoever speaks for the device says whether it is there."""

    async def cut(self, devices: Sequence[str]) -> None:
        """The power of these devices fails: no good-bye, the broker speaks their last wills."""

    async def restore(self, devices: Sequence[str]) -> None:
        """The power is back: they connect and say that they are there."""


class StoryError(Exception):
    """The story could not be played to its end; the message says what stood in the way."""


Script = Callable[[Stage, Sequence[str]], Awaitable[None]]
"""What the chosen devices do."""

Act = Callable[["Performance"], Awaitable[None]]
"""How a performance goes, where it is not one alert, one order, and its end (`device_sim.theatre.acts`)."""


@dataclass(frozen=True, slots=True)
class Need:
    """Devices for one performance: `count` of `kind` with `tag`, none with an open alert or order."""

    kind: str
    count: int = 1
    tag: str | None = None
    one_building: bool = False
    beside: str | None = None
    """One more device, of this kind and of the same building, where there is one."""
    quiet_s: float = 0.0
    """No reading newer than this: the story tells of the time since then, and time does not run backwards."""
    status: bool = False
    """They say that they are online when they connect, and leave a last will."""
    behind: int = 0
    """So many devices behind those chosen, building by building; all there are where there are fewer."""
    extras: tuple[tuple[str, int], ...] = ()
    """(kind, how many) that play beside them, wherever they are."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What must come of it. `rules`: those that watch this one thing (a family); any of them may speak first."""

    rules: frozenset[str]
    severity: Severity
    team: Team
    life_safety: bool
    within_s: float = 5.0
    of_building: bool = False
    """The alert is the building's, one for all devices of the story."""
    severity_beside: Severity = Severity.MINOR
    """Of the alert of the device beside, where that is another kind's."""
    also: frozenset[str] = frozenset()
    """Rules of the single devices whose alerts are worked on in the same order."""
    commands: frozenset[str] = frozenset()
    """What the plan of this alert tells the first device to do, which must do it and say so."""


@dataclass(frozen=True, slots=True)
class Story:
    """One story. `again` is told when the order is open, and must join it; `calm` brings the devices back."""

    name: str
    label: Label
    need: Need
    script: Script
    expected: Expected
    again: Script | None = None
    repeats: bool = True
    """`again` is a new occurrence; False: only more of what goes on already."""
    first: Script | None = None
    """The oldest reading of devices that must have been silent (`Need.quiet_s`), told before the script. By itself it
    raises nothing: where they turn out to have spoken after all, the story leaves them with it."""
    beforehand: Script | None = None
    """What those behind the devices say first."""
    calm: Script | None = None
    act: Act | None = None
    silent_s: float = 0.0
    """In `acts.dark`: so long are those behind the devices silent, and raise nothing."""
