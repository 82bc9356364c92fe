"""The launcher's side of the embedded stack: servers and services of one home, started, watched and stopped."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from deploy.embedded import broker, ports, processes, root, state, tools
from deploy.embedded.broker import Mosquitto
from deploy.embedded.errors import HomeInUse, StackError
from deploy.embedded.locks import Lock
from deploy.embedded.part import Part, describe_exit
from deploy.embedded.postgres import MAINTENANCE, Postgres
from deploy.embedded.secrets import Secrets
from deploy.embedded.service import Service
from deploy.embedded.state import Phase, State

Say = Callable[[str], None]
P = TypeVar("P", bound=Part)
_BACK_OFF_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_SETTLED_S = 60.0
"""Who has run this long begins its back-off anew."""
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers of a home answer. `secrets` are the broker's service accounts and their passwords."""

    database_url: str
    maintenance_url: str
    mqtt_host: str
    mqtt_port: int
    """The services' listener: client ids are free there."""
    device_port: int
    """The devices' listener: the login name is the client id."""
    password_file: Path
    secrets: Mapping[str, str]
    hashes: Mapping[str, str]

    def mqtt_url(self, account: str) -> str:
        return f"mqtt://{account}:{self.secrets[account]}@{self.mqtt_host}:{self.mqtt_port}"

    @property
    def device_url(self) -> str:
        return f"mqtt://{self.mqtt_host}:{self.device_port}"


@dataclass(slots=True)
class _Watch:
    failures: int = 0
    due: float | None = None
    trouble: str | None = None
    """Said last."""


class Stack:
    """One home. Use from one long-lived thread: what it starts dies with the thread that started it.

    `hash_secret` makes what the broker keeps of a password; `say` is told what happens to a part while it is watched;
    `root` may be shared by homes.
    """

    def __init__(
        self,
        home: Path,
        hash_secret: Callable[[str], str],
        *,
        root: Path | None = None,
        extra_acl: str = "",
        postgres_settings: Mapping[str, str] | None = None,
        say: Say = print,
    ) -> None:
        self.home = home.resolve()
        self.root = (root or home / "root").resolve()
        self.say = say
        self._hash_secret = hash_secret
        self._extra_acl = extra_acl
        self._postgres_settings = postgres_settings
        self._state = State()
        self._lock: Lock | None = None
        self._reserved = ports.Reservations()
        self._parts: dict[str, Part] = {}
        self._watches: dict[str, _Watch] = {}

    # opening and closing a home

    def open(self) -> None:
        """Takes the home and ends what an earlier launcher left. Raises HomeInUse when one is at work there."""
        for folder in (self.home, self.home / "run", self.home / "logs"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = Lock.take(state.lock_path(self.home), timeout_s=1.0)
        if self._lock is None:
            raise HomeInUse(f"{self.home} is in use", hint="`linhub down` stops it")
        processes.raise_file_limit()
        before = state.read(self.home)
        if left := processes.end(before.all_processes):
            self.say(f"ended {len(left)} processes that a killed launcher had left")
        self._state = State("starting", processes.ProcessId.of(os.getpid()), time.time(), ports=before.ports)
        self._write()

    def close(self) -> None:
        """Stops everything in reverse and lets go of the home."""
        if self._lock is None:
            return
        self.set_phase("stopping")
        # Services need the servers to finish their work, but not each other.
        for part in self._parts.values():
            if isinstance(part, Service):
                part.ask_to_stop()
        for part in reversed(self._parts.values()):
            part.stop()
        self._parts.clear()
        self._watches.clear()
        self._reserved.release()
        self.set_phase("stopped")
        self._lock.release()
        self._lock = None

    def __enter__(self) -> Stack:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # servers

    @property
    def secrets(self) -> Secrets:
        return Secrets(self.home / "secrets.json")

    def ensure_root(self) -> None:
        """The tools and the unpacked packages. Raises StackError."""
        log = self.home / "logs" / "root.log"
        tools.ensure(("bwrap",), log)
        root.ensure(self.root, log)

    def start_servers(self, *, with_postgres: bool = True, with_broker: bool = True) -> Servers:
        """Both at once, ready when it returns. The address of one left out is of no use. Raises StackError."""
        acl = (broker.SHIPPED / "acl").read_text(encoding="utf-8") + self._extra_acl
        accounts = self.secrets.many(broker.accounts(acl))
        postgres = Postgres(
            self.home, self.root, self.port("postgres"), self.secrets.one("postgres"), self._postgres_settings
        )
        mosquitto = Mosquitto(
            self.home,
            self.root,
            self.port("mqtt"),
            self.port("mqtt_services"),
            accounts,
            self._hash_secret,
            self._extra_acl,
        )
        wanted: list[Part] = [part for part, on in ((postgres, with_postgres), (mosquitto, with_broker)) if on]
        for part in wanted:
            self._start(part)
        for part in wanted:
            part.wait_ready()
        if with_postgres:
            postgres.ensure_database()
        return Servers(
            database_url=postgres.url(),
            maintenance_url=postgres.url(MAINTENANCE),
            mqtt_host=ports.LOOPBACK,
            mqtt_port=mosquitto.service_port,
            device_port=mosquitto.device_port,
            password_file=mosquitto.password_file,
            secrets=accounts,
            hashes=mosquitto.hashes,
        )

    @property
    def postgres(self) -> Postgres:
        return self._part(Postgres)

    @property
    def mosquitto(self) -> Mosquitto:
        return self._part(Mosquitto)

    def _part(self, kind: type[P]) -> P:
        """Raises LookupError when this home does not run one."""
        for part in self._parts.values():
            if isinstance(part, kind):
                return part
        raise LookupError(f"{kind.__name__} does not run here")

    def reload_broker(self) -> None:
        """After the password file was written."""
        if "mosquitto" in self._parts:
            self.mosquitto.reload()

    # services

    def start_service(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str], health_port: int | None
    ) -> Service:
        """Starts it and returns at once; wait with `wait_ready`."""
        service = Service(name, self.home, argv, environment, health_port)
        self._start(service)
        return service

    def port(self, name: str, preferred: int | None = None) -> int:
        """The port this home used for `name` before, else `preferred`, else any: whichever is free first."""
        port = self._reserved.choose(self._state.ports.get(name), preferred)
        self._state.ports[name] = port
        self._write()
        return port

    def _start(self, part: Part) -> None:
        part.start()
        self._parts[part.name] = part
        self._watches[part.name] = _Watch()
        self._write()

    # watching

    def supervise(self, stopped: Callable[[], bool]) -> None:
        """Until `stopped` says so: starts again what ends, waiting longer each time it ends soon."""
        while not stopped():
            changed = False
            for part in self._parts.values():
                part.trim_log()
                if isinstance(part, Mosquitto):
                    part.reload_if_changed()
                changed |= self._watch(part, self._watches[part.name])
            if changed:
                self._write()
            time.sleep(_POLL_S)

    def _watch(self, part: Part, watch: _Watch) -> bool:
        now = time.monotonic()
        if part.alive:
            self._tell_trouble(part, watch)
            if watch.failures and now - part.started_at > _SETTLED_S:
                watch.failures = 0
            return False
        if watch.due is None:
            pause = _BACK_OFF_S[min(watch.failures, len(_BACK_OFF_S) - 1)]
            watch.due, watch.failures = now + pause, watch.failures + 1
            self.say(f"{part.name} ended with {describe_exit(part.exit_code)}; starting it again in {pause:g} s")
            return False
        if now < watch.due:
            return False
        watch.due = None
        try:
            part.start()
        except (StackError, OSError) as error:
            self.say(f"{part.name} cannot be started: {error}")
            return False
        self.say(f"{part.name} runs again")
        self._state.restarts[part.name] = self._state.restarts.get(part.name, 0) + 1
        return True

    def _tell_trouble(self, part: Part, watch: _Watch) -> None:
        try:
            trouble = part.trouble()
        except OSError as error:
            trouble = f"its folder cannot be looked at: {error}"
        if trouble != watch.trouble:
            self.say(f"{part.name}: {trouble}" if trouble else f"{part.name}: well again; it was: {watch.trouble}")
            watch.trouble = trouble

    # what others read

    @property
    def phase(self) -> Phase:
        return self._state.phase

    def set_phase(self, phase: Phase) -> None:
        self._state.phase = phase
        self._write()

    def set_facts(self, **facts: object) -> None:
        self._state.facts.update(facts)
        self._write()

    def _write(self) -> None:
        self._state.processes = {name: part.processes for name, part in self._parts.items()}
        state.write(self.home, self._state)


def shut_down(home: Path, *, patience_s: float = 120.0) -> bool:
    """Stops the launcher of `home` and what it started, from any process; whether there was anything to stop.

    Raises StackError when the launcher does not let go of the home in time.
    """
    home = home.resolve()
    before = state.read(home)
    told = before.launcher is not None and before.launcher.send(signal.SIGTERM)
    lock = Lock.take(state.lock_path(home), timeout_s=patience_s if told else 2.0) if home.exists() else None
    if lock is None:
        if not home.exists():
            return False
        raise StackError(
            f"the launcher of {home} does not stop" if told else f"{home} is held by a process that left no trace",
            hint="try again; its log is in logs/",
            log=home / "logs" / "launcher.log",
        )
    try:
        left = processes.end(state.read(home).all_processes)
        if before.launcher is not None and told:
            _wait_gone(before.launcher)
        if told or left:
            after = state.read(home)
            after.phase, after.processes, after.launcher = "stopped", {}, None
            state.write(home, after)
        return told or bool(left)
    finally:
        lock.release()


def _wait_gone(launcher: processes.ProcessId, timeout_s: float = 10.0) -> None:
    """It lets go of the home a moment before its process is gone."""
    deadline = time.monotonic() + timeout_s
    while launcher.alive and time.monotonic() < deadline:
        time.sleep(0.02)
