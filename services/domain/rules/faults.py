"""What is wrong with a rule as written: where, and what to do about it, in both languages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from services.domain.vocabulary import Label

Path = tuple[str | int, ...]
"""Keys and positions from the top of the document to the value."""

SHOWN = 12
"""Names told when none of them is near."""


@dataclass(frozen=True, slots=True)
class Fault:
    path: Path
    words: Label

    @property
    def where(self) -> str:
        """`rules[2].when.threshold.limit`; empty: the document as a whole."""
        return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path).removeprefix(".")


@dataclass(slots=True)
class Faults:
    """Collects them, so that all are told at once."""

    found: list[Fault]

    def add(self, path: Path, zh: str, en: str) -> None:
        self.found.append(Fault(path, Label(zh, en)))

    def unknown(self, path: Path, what: Label, name: object, known: Iterable[str], of: str = "") -> None:
        """A name that nothing bears, with the nearest that exists. `of`: whose name it is."""
        names = list(known)
        near = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
        name = f"{of}.{name}" if of else name
        if near:
            zh, en = f"是否指 {near[0]}？", f"did you mean {near[0]}?"
        elif names:
            more = " …" if len(names) > SHOWN else ""
            listed = ", ".join(names[:SHOWN]) + more
            zh, en = f"可用：{listed}", f"there are: {listed}"
        else:
            zh, en = "此处没有可用的", "there are none here"
        self.add(path, f"没有{what.zh} {name}；{zh}", f"no {what.en} {name}; {en}")
