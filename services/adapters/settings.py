"""What every service is told from outside, and one clear line when it is told wrong."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal, NoReturn, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class ServiceSettings(BaseSettings):
    """Read once from `LINHUB_*` variables by a service's `main`, then passed along. Durations end in `_s`."""

    model_config = SettingsConfigDict(env_prefix="LINHUB_", frozen=True, extra="ignore")

    database_url: str = Field(pattern=r"^postgres(ql)?://")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = "json"
    health_host: str = "127.0.0.1"
    health_port: int = Field(default=0, ge=0, le=65535)
    clock_hold_s: float = Field(default=600.0, ge=0)
    """How long a wall clock that jumped has to stand by its new time before decisions are made by it."""
    clock_file: Path | None = None
    """Where services of one host leave word of the time they hold, for those that start during a jump."""


S = TypeVar("S", bound=BaseSettings)


def from_environment(settings: type[S]) -> S:
    """The settings, or exit 2 after one line per wrong variable that names it."""
    try:
        return settings()
    except ValidationError as error:
        for problem in error.errors():
            given = "is not set" if problem["type"] == "missing" else f"is wrong: {problem['msg']}"
            _say("_".join(str(part) for part in problem["loc"]), given)
        raise SystemExit(2) from None


def refuse(setting: str, why: str) -> NoReturn:
    """What only its use can show to be wrong: exit 2 after one line that names the variable."""
    _say(setting, f"is wrong: {why}")
    raise SystemExit(2) from None


def _say(setting: str, what: str) -> None:
    print(f"linhub: LINHUB_{setting.upper()} {what}", file=sys.stderr)  # noqa: T201
