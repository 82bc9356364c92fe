"""What a launcher writes down for the next one and for `status`: `<home>/run/stack.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from deploy.embedded.processes import ProcessId
from deploy.embedded.secrets import write_private

Phase = Literal["stopped", "starting", "ready", "stopping"]


@dataclass(slots=True)
class State:
    """`ports` stay known while stopped; `processes` are of the launcher that wrote them."""

    phase: Phase = "stopped"
    launcher: ProcessId | None = None
    since: float = 0.0
    ports: dict[str, int] = field(default_factory=dict)
    processes: dict[str, list[ProcessId]] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    """What the caller wants to find again: addresses, whether servers are its own."""

    @property
    def all_processes(self) -> list[ProcessId]:
        return [process for group in self.processes.values() for process in group]

    @property
    def running(self) -> bool:
        return self.launcher is not None and self.launcher.alive


def state_path(home: Path) -> Path:
    return home / "run" / "stack.json"


def lock_path(home: Path) -> Path:
    return home / "run" / "launcher.lock"


def read(home: Path) -> State:
    """The last state written; an empty one when there is none, or none that can be read."""
    try:
        told = json.loads(state_path(home).read_text(encoding="utf-8"))
        groups = {
            str(name): [process for item in items if (process := ProcessId.from_json(item)) is not None]
            for name, items in told["processes"].items()
        }
        return State(
            phase=told["phase"],
            launcher=ProcessId.from_json(told["launcher"]),
            since=float(told["since"]),
            ports={str(name): int(port) for name, port in told["ports"].items()},
            processes=groups,
            restarts={str(name): int(count) for name, count in told["restarts"].items()},
            facts=dict(told["facts"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return State()


def write(home: Path, state: State) -> None:
    told = {
        "phase": state.phase,
        "launcher": state.launcher.to_json() if state.launcher else None,
        "since": state.since,
        "ports": state.ports,
        "processes": {name: [process.to_json() for process in group] for name, group in state.processes.items()},
        "restarts": state.restarts,
        "facts": state.facts,
    }
    state_path(home).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_private(state_path(home), json.dumps(told, indent=1, ensure_ascii=False) + "\n")
