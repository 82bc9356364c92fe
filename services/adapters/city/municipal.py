"""Reads the cases of city management that come with the product."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import yaml

from services.domain.city.municipal import Municipal

CASES = Path(__file__).parents[2] / "domain" / "city" / "municipal.yaml"


def load_municipal(path: Path = CASES) -> Municipal:
    """Raises pydantic.ValidationError with every fault, OSError, yaml.YAMLError."""
    return Municipal.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


@cache
def cases() -> dict[str, dict[str, Any]]:
    """By kind of device or category of what was reported; read once a process."""
    return load_municipal().cases_by_kind()
