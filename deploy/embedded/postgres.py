"""PostgreSQL 17 with TimescaleDB in the sandbox."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from deploy.embedded import ports, sandbox
from deploy.embedded.errors import StackError
from deploy.embedded.part import Part

DATA = "/linhub/postgres"
SUPERUSER = "linhub"
DATABASE = "linhub"
MAINTENANCE = "postgres"

SETTINGS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "shared_preload_libraries": "timescaledb",
    "timescaledb.telemetry_level": "off",
    "timescaledb.max_background_workers": "16",
    "max_worker_processes": "32",
    "max_connections": "200",
    # What is acknowledged to a device is on disk.
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "password_encryption": "scram-sha-256",
    # A quarter of a small machine that others share, rather than of a database server.
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "max_wal_size": "4GB",
    "min_wal_size": "256MB",
    "wal_compression": "lz4",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    # A query over many chunks locks each of them.
    "max_locks_per_transaction": "256",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%a ",
    "log_checkpoints": "off",
    "log_lock_waits": "on",
}


class Postgres(Part):
    """`data` outlives the process; `password` is the superuser's."""

    stop_signal = signal.SIGINT
    stop_timeout_s = 60.0
    ready_timeout_s = 300.0
    sandboxed = True

    def __init__(
        self, home: Path, root: Path, port: int, password: str, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__("postgres", home)
        self.root = root
        self.port = port
        self.password = password
        self.data = home / "postgres"
        self.settings = {**SETTINGS, **(settings or {})}

    def url(self, database: str = DATABASE) -> str:
        return f"postgresql://{SUPERUSER}:{self.password}@{ports.LOOPBACK}:{self.port}/{database}"

    def environment(self) -> Mapping[str, str]:
        return sandbox.ENVIRONMENT

    def command(self, info_fd: int | None) -> Sequence[str]:
        argv = ["postgres", "-D", DATA, "-p", str(self.port)]
        for name, value in self.settings.items():
            argv += ["-c", f"{name}={value}"]
        return sandbox.command(self.root, argv, writable={DATA: self.data}, info_fd=info_fd)

    def prepare(self) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._initialise()
        # Left by a server that was killed, perhaps half written, which PostgreSQL would stumble over. The lock says
        # that none is alive; the number in the file says nothing, since in each sandbox the server is process 1.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _initialise(self) -> None:
        """A killed initdb leaves only the folder beside, which the next one removes."""
        fresh = self.home / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700, parents=True)
        secret = self.home / "run" / "initdb.password"
        secret.parent.mkdir(parents=True, exist_ok=True)
        secret.touch(0o600)
        secret.write_text(self.password + "\n", encoding="utf-8")
        argv = ["initdb", "-D", DATA, "-U", SUPERUSER, "--pwfile=/linhub/password", "--encoding=UTF8"]
        argv += ["--locale=C.UTF-8", "--data-checksums", "--auth=scram-sha-256"]
        command = sandbox.command(self.root, argv, writable={DATA: fresh}, readable={"/linhub/password": secret})
        self.log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self.log.open("ab") as out:
                result = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=sandbox.ENVIRONMENT, check=False
                )
        except OSError as error:
            raise StackError(f"bubblewrap cannot be started: {error}") from error
        finally:
            secret.unlink(missing_ok=True)
        if result.returncode != 0:
            raise self.failure(f"initdb ended with exit code {result.returncode}")
        fresh.rename(self.data)

    def waiting_for(self) -> str | None:
        if not ports.answers(self.port):
            return f"nothing answers at {ports.LOOPBACK}:{self.port}"
        code, told = self.query("SELECT 1", MAINTENANCE)
        if code == 0:
            return None
        if "password authentication failed" in told:
            raise StackError(
                "the database refuses the password of secrets.json",
                hint=f"put back the {self.home / 'secrets.json'} that belongs to {self.data}",
                log=self.log,
            )
        return told.strip().splitlines()[-1] if told.strip() else f"psql ended with {code}"

    def query(self, sql: str, database: str = DATABASE, timeout_s: float = 30.0) -> tuple[int, str]:
        """Asks over TCP, as every client does: psql's exit code and what it printed."""
        argv = ["psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-h", ports.LOOPBACK, "-p", str(self.port)]
        argv += ["-U", SUPERUSER, "-d", database, "-c", sql]
        environment = {**sandbox.ENVIRONMENT, "PGPASSWORD": self.password, "PGCONNECT_TIMEOUT": "5"}
        try:
            result = subprocess.run(
                sandbox.command(self.root, argv),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                env=environment,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return 124, f"no answer within {timeout_s:g} s"
        return result.returncode, result.stdout + result.stderr

    def ensure_database(self, name: str = DATABASE) -> None:
        """Raises StackError."""
        code, told = self.query(f"SELECT 1 FROM pg_database WHERE datname = '{name}'", MAINTENANCE)  # noqa: S608
        if code == 0 and not told.strip():
            code, told = self.query(f'CREATE DATABASE "{name}" TEMPLATE template0', MAINTENANCE)
        if code != 0:
            raise StackError(f"database {name} cannot be made: {told.strip()}", log=self.log)
