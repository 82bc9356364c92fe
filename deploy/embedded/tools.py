"""The two programs the stack needs from the machine, installed where that is allowed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from deploy.embedded.errors import ToolMissing

PACKAGES = {"mmdebstrap": "mmdebstrap", "bwrap": "bubblewrap"}
"""Program to Debian package."""


def missing(programs: Iterable[str]) -> list[str]:
    return [program for program in programs if shutil.which(program) is None]


def ensure(programs: Iterable[str], log: Path) -> None:
    """Installs what is missing through apt, as root or with a sudo that asks nothing.

    Raises ToolMissing with the exact command where neither is possible.
    """
    lacking = missing(programs)
    if not lacking:
        return
    packages = [PACKAGES[program] for program in lacking]
    by_hand = f"sudo apt-get install --no-install-recommends -y {' '.join(packages)}"
    prefix = _privilege()
    if prefix is None or shutil.which("apt-get") is None:
        raise ToolMissing(f"{' and '.join(lacking)} not found", hint=f"run: {by_hand}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = [*prefix, "apt-get", "install", "--no-install-recommends", "-y", "-q", *packages]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        for command in ([*prefix, "apt-get", "update", "-q"], install):
            subprocess.run(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, check=False)
    if still := missing(lacking):
        raise ToolMissing(f"{' and '.join(still)} could not be installed", hint=f"run: {by_hand}", log=log)


def _privilege() -> list[str] | None:
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo"):
        probe = subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False)
        if probe.returncode == 0:
            return ["sudo", "-n"]
    return None
