"""docker-compose.yml and its Dockerfile as data, with variables filled in as compose fills them."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "deploy" / "images" / "Dockerfile"
OURS = "linhub:0.1.0"

_VARIABLE = re.compile(r"\$(?:(\$)|\{([A-Z0-9_]+)(?:(:-|:\?)([^}]*))?\})")


def load() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return document


def variables() -> dict[str, str]:
    """Every variable the file asks for, with the operator that says what happens when it is missing."""
    return {match[2]: match[3] or "" for match in _VARIABLE.finditer(COMPOSE.read_text()) if match[2]}


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """As compose does. Raises KeyError for a required variable that is missing."""

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return "$"
        given = values.get(match[2], "")
        if given:
            return given
        if match[3] == ":-":
            return match[4]
        raise KeyError(match[2])

    return _VARIABLE.sub(value, text)


def environment(service: Mapping[str, Any], values: Mapping[str, str]) -> dict[str, str]:
    return {name: interpolate(str(text), values) for name, text in service.get("environment", {}).items()}


@dataclass(frozen=True, slots=True)
class Copy:
    stage: str
    origin: str | None
    """`--from`: another stage; None copies from the repository."""
    sources: tuple[str, ...]
    target: str


def copies() -> list[Copy]:
    """The COPY instructions of the Dockerfile, stage by stage; the last stage, which has no name, is ''."""
    found, stage = [], ""
    for line in DOCKERFILE.read_text().replace("\\\n", " ").splitlines():
        if match := re.match(r"FROM \S+(?: AS (\S+))?$", line):
            stage = match[1] or ""
        elif line.startswith("COPY "):
            words = line.split()[1:]
            flags = [word for word in words if word.startswith("--")]
            assert all(flag.startswith("--from=") for flag in flags), line
            *sources, target = [word for word in words if not word.startswith("--")]
            origin = flags[0].removeprefix("--from=") if flags else None
            found.append(Copy(stage, origin, tuple(sources), target))
    return found


def stage(target: Path) -> None:
    """Lays out what the image holds under /app, from nothing but the Dockerfile's own instructions.

    The cockpit is built in the image; here an empty page stands for it.
    """
    for item in copies():
        if item.stage != "source":
            continue
        place = target / item.target
        if item.origin is not None:
            place.mkdir(parents=True, exist_ok=True)
            (place / "index.html").write_text("<!doctype html><title>LinHub</title>")
            continue
        for source in item.sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, dirs_exist_ok=True, ignore=_LEFT_OUT)
            else:
                shutil.copy(ROOT / source, place)
        for removed in re.findall(r"RUN rm -rf (\S+)", DOCKERFILE.read_text()):
            shutil.rmtree(target / removed, ignore_errors=True)


_LEFT_OUT = shutil.ignore_patterns("__pycache__", "node_modules")


def schema() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "tests" / "golden" / "compose-spec.json").read_text())
    return document
