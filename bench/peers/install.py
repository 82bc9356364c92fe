"""Brings the peers to this machine, pinned, into a folder of their own; only `make bench BENCH=--peers` asks for it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from deploy.web import find_node

HERE = Path(__file__).resolve().parent
HOME = HERE.parents[1] / ".linhub" / "peers"


class PeerError(Exception):
    """A peer cannot be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Peers:
    python: Path
    """An environment with mq-bridge."""
    node: Path
    node_red: Path
    """Node-RED's own start script."""
    modules: Path


def install() -> Peers:
    """Installs what is not there yet. Raises PeerError."""
    HOME.mkdir(parents=True, exist_ok=True)
    return Peers(_mq_bridge(), *_node_red())


def _mq_bridge() -> Path:
    lock = HERE / "requirements.lock"
    folder = HOME / "python"
    python, stamp = folder / "bin" / "python", folder / "stamp"
    if not _current(stamp, lock):
        shutil.rmtree(folder, ignore_errors=True)
        venv.create(folder, with_pip=True)
        _call([str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(lock)], folder)
        stamp.write_text(_digest(lock))
    return python


def _node_red() -> tuple[Path, Path, Path]:
    node = find_node([sys.executable, "-m", "pip"])
    lock = HERE / "package-lock.json"
    folder = HOME / "node"
    stamp = folder / "stamp"
    if not _current(stamp, lock):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, folder / name)
        _call([*node.npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"], folder, node.folder)
        stamp.write_text(_digest(lock))
    modules = folder / "node_modules"
    return node.folder / "node", modules / "node-red" / "red.js", modules


def _current(stamp: Path, lock: Path) -> bool:
    return stamp.is_file() and stamp.read_text() == _digest(lock)


def _digest(lock: Path) -> str:
    return hashlib.sha256(lock.read_bytes()).hexdigest()


def _call(command: list[str], folder: Path, first_on_path: Path | None = None) -> None:
    path = os.environ.get("PATH", "")
    environment = {**os.environ, "PATH": f"{first_on_path}{os.pathsep}{path}" if first_on_path else path}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise PeerError(f"{' '.join(command[:4])} … failed:\n{done.stderr[-1500:]}")
