"""Where this machine gets Debian packages from, read from its own apt configuration."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.embedded.errors import StackError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
MIRROR_VARIABLE = "LINHUB_DEBIAN_MIRROR"
_DEBIAN = frozenset(
    (
        *("oldoldstable", "oldstable", "stable", "testing", "unstable", "sid"),
        *("bullseye", "bookworm", "trixie", "forky", "duke"),
    )
)
_SCHEMES = ("http:", "https:", "file:", "copy:", "mirror:", "mirror+http:", "mirror+https:", "mirror+file:")
_ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<components>.*)$")
_CARRIED = re.compile(r"^Acquire::(https?::|Retries|Check-Valid-Until|Proxy)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Source:
    """One entry of apt's sources. `options` have deb822 names in lower case (signed-by, trusted …)."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: Mapping[str, str]


def parse_deb822(text: str) -> list[Source]:
    """Stanzas of a `.sources` file; disabled ones and those for sources only are left out."""
    found = []
    for fields in _stanzas(text):
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        options = {k: v for k, v in fields.items() if k in ("signed-by", "trusted", "check-valid-until")}
        found.append(
            Source(
                tuple(fields.get("uris", "").split()),
                tuple(fields.get("suites", "").split()),
                tuple(fields.get("components", "").split()),
                options,
            )
        )
    return found


def _stanzas(text: str) -> Iterable[dict[str, str]]:
    fields: dict[str, str] = {}
    last = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, ""
        elif line[0] in " \t" and last:
            fields[last] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            last = name.strip().lower()
            fields[last] = value.strip()


def parse_one_line(text: str) -> list[Source]:
    """Lines of a `.list` file."""
    found = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line.partition("#")[0].strip())
        if match is None:
            continue
        options = {}
        for option in shlex.split(match["options"] or ""):
            name, _, value = option.partition("=")
            if name.lower() in ("signed-by", "trusted", "check-valid-until"):
                options[name.lower()] = value.replace(",", " ")
        found.append(Source((match["uri"],), (match["suite"],), tuple(match["components"].split()), options))
    return found


def read_sources(etc_apt: Path = Path("/etc/apt")) -> list[Source]:
    """All entries apt itself would read; unreadable files are left out."""
    parts = etc_apt / "sources.list.d"
    files = [etc_apt / "sources.list", *sorted(parts.glob("*.list")), *sorted(parts.glob("*.sources"))]
    found: list[Source] = []
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        found += parse_deb822(text) if path.suffix == ".sources" else parse_one_line(text)
    return found


def debian_source(sources: Iterable[Source]) -> Source:
    """The machine's Debian archive: main, a suite of Debian itself rather than of its security or backports.

    Raises StackError when there is none, as on a machine that is not Debian.
    """
    for source in sources:
        uris = tuple(uri for uri in source.uris if uri.startswith(_SCHEMES))
        if uris and "main" in source.components and _DEBIAN.intersection(source.suites):
            return Source(uris, source.suites, ("main",), source.options)
    raise StackError(
        "the machine's apt configuration names no Debian archive to take TimescaleDB and mosquitto from",
        hint=f"set {MIRROR_VARIABLE} to the address of a Debian mirror, or point LINHUB_DATABASE_URL and "
        "LINHUB_MQTT_URL at servers that already run",
    )


def stanza(source: Source, suite: str, keyring: Path = KEYRING) -> str:
    """`source` as a deb822 entry for another suite of the same archive."""
    options = dict(source.options)
    if "signed-by" not in options and keyring.exists():
        options["signed-by"] = str(keyring)
    lines = ["Types: deb", f"URIs: {' '.join(source.uris)}", f"Suites: {suite}", "Components: main"]
    lines += [f"{name.title()}: {value}" for name, value in sorted(options.items())]
    return "\n".join(lines) + "\n"


def acquire_options() -> list[str]:
    """How this machine reaches the archive: proxies, certificates and retries, as lines of apt configuration."""
    try:
        dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True, timeout=30).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return [line for line in dump.splitlines() if _CARRIED.match(line) and not line.endswith('"";')]
