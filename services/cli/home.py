"""Where an installation keeps its data, and the words people read in their own language."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deploy.embedded import state
from deploy.embedded.secrets import Secrets

HOME_NAME = ".linhub"
API_LOGIN = "linhub_api"
CODE = Path(__file__).resolve().parents[2]
"""Where the packages lie; processes that are started import these and no others."""


def find_home(environment: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Path:
    """`LINHUB_HOME`, else `.linhub` of the project around the current folder, else of the current folder itself."""
    if named := environment.get("LINHUB_HOME"):
        return Path(named).expanduser().resolve()
    here = (cwd or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / HOME_NAME / "run").is_dir() or (folder / "pyproject.toml").is_file():
            return folder / HOME_NAME
    return here / HOME_NAME


@dataclass(frozen=True, slots=True)
class Given:
    """Servers that exist already; None: the embedded ones are used."""

    database_url: str | None
    mqtt_url: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Given:
        """Raises ValueError with one line that names the variable."""
        database, mqtt = environment.get("LINHUB_DATABASE_URL") or None, environment.get("LINHUB_MQTT_URL") or None
        if database and urlsplit(database).scheme not in ("postgres", "postgresql"):
            raise ValueError("LINHUB_DATABASE_URL is wrong: expected postgresql://user:password@host:port/database")
        if mqtt:
            try:
                told = urlsplit(mqtt)
                good = told.scheme == "mqtt" and bool(told.hostname) and (told.port is None or told.port > 0)
            except ValueError:
                good = False
            if not good:
                raise ValueError("LINHUB_MQTT_URL is wrong: expected mqtt://user:password@host:port")
        return cls(database, mqtt)


def database_url(home: Path, environment: Mapping[str, str] = os.environ) -> str | None:
    """The database of this home: the given one, else the embedded one where it was ever started."""
    if given := Given.from_environment(environment).database_url:
        return given
    port = state.read(home).ports.get("postgres")
    if port is None or not (home / "secrets.json").exists():
        return None
    password = Secrets(home / "secrets.json").one("postgres")
    return f"postgresql://linhub:{password}@127.0.0.1:{port}/linhub"


def api_database_url(home: Path, port: int) -> str:
    """The tenants' login at the embedded database."""
    return f"postgresql://{API_LOGIN}:{Secrets(home / 'secrets.json').one(API_LOGIN)}@127.0.0.1:{port}/linhub"


def tr(en: str, zh: str, environment: Mapping[str, str] = os.environ) -> str:
    """The sentence in the language of the terminal."""
    locale = environment.get("LC_ALL") or environment.get("LC_MESSAGES") or environment.get("LANG") or ""
    return zh if locale.lower().startswith("zh") else en


def evidence_url(home: Path, environment: Mapping[str, str] = os.environ) -> str:
    """Where photos and clips lie: as told, else in a folder of this home."""
    return environment.get("LINHUB_EVIDENCE_URL") or (home / "evidence").as_uri()
