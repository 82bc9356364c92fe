"""Puts commands to the broker: each under one id until it is answered or expires, and never after that."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import asyncpg
import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from services.adapters.commands import sending as ledger
from services.adapters.mqtt import Address
from services.adapters.postgres import RETRYABLE
from services.adapters.steady_clock import SteadyClock
from services.alerts import metrics, plans
from services.alerts.settings import AlertSettings

log = structlog.get_logger(__name__)

_KEEPALIVE_S = 10
_RETRY_S = 1.0
_MOST_SLEEP_S = 1.0
_LOOK_S = 0.25


class CommandSender:
    """One connection of this engine; it sends what belongs to the partitions it owns.

    A command is claimed in the database before it is published and marked when the broker has it. Whoever dies in
    between leaves it to be sent again, a few seconds later, with the same id; a device carries out each id once.
    The payload names its expiry, and the broker is told to throw it away by then, so one that waits there for a
    device that is away does not come true afterwards.
    """

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        settings: AlertSettings,
        owner: str,
        owned: Callable[[], Sequence[int]],
        clock: SteadyClock,
    ) -> None:
        self.wake = asyncio.Event()
        self._pool, self._owned, self._clock = pool, owned, clock
        self._tick_s = min(_MOST_SLEEP_S, settings.alerts_tick_s)
        self._address = Address.parse(settings.mqtt_url) if settings.mqtt_url else None
        self._client_id = f"linhub-commands-{owner.rpartition(':')[2]}"
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: mqtt.Client | None = None
        self._connected = False
        self._gone = asyncio.Event()
        self._taken: dict[int, UUID] = {}
        """Message number → command, until the broker has it."""
        self._at_broker: asyncio.Queue[tuple[UUID, bool]] = asyncio.Queue()

    async def run(self) -> None:
        """Until cancelled. The database or the broker away: said once, and tried again."""
        self._loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._prove())
            if self._address is None:
                log.warning("commands_stay", why="LINHUB_MQTT_URL is not set: commands are kept, and expire unsent")
                return
            group.create_task(self._keep())
            group.create_task(self._send())
            group.create_task(self._mark())

    # ── the broker; its callbacks run in paho's thread ──

    async def _keep(self) -> None:
        """A connection, and a new client after each: what an old one still had queued might be expired by then, and
        whatever was not acknowledged is claimed and sent again anyway."""
        while True:
            self._gone.clear()
            client = self._client = self._open()
            try:
                await self._gone.wait()
            finally:
                self._connected, self._client = False, None
                self._taken.clear()
                client.disconnect()
                await asyncio.shield(asyncio.to_thread(client.loop_stop))
            await asyncio.sleep(_RETRY_S)

    def _open(self) -> mqtt.Client:
        assert self._address is not None  # noqa: S101
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=mqtt.MQTTv5,
            reconnect_on_failure=False,
        )
        if self._address.username is not None:
            client.username_pw_set(self._address.username, self._address.password)
        client.reconnect_delay_set(1, 5)
        client.on_connect = lambda c, _u, _f, reason, _p: self._soon(self._on_connect, c, reason)
        client.on_disconnect = lambda c, _u, _f, reason, _p: self._soon(self._on_disconnect, c, reason)
        client.on_publish = lambda c, _u, mid, reason, _p: self._soon(self._on_publish, c, mid, reason)
        client.connect_async(self._address.host, self._address.port, keepalive=_KEEPALIVE_S, clean_start=True)
        client.loop_start()
        return client

    def _soon(self, work: Callable[..., None], *args: Any) -> None:
        assert self._loop is not None  # noqa: S101
        with contextlib.suppress(RuntimeError):  # the loop is gone: so is whoever would want to know
            self._loop.call_soon_threadsafe(work, *args)

    def _on_connect(self, client: mqtt.Client, reason: Any) -> None:
        if client is not self._client:
            return
        self._connected = not reason.is_failure
        if self._connected:
            self.wake.set()
            log.info("commands_connected")
        else:
            log.warning("commands_refused", why=str(reason))
            self._gone.set()

    def _on_disconnect(self, client: mqtt.Client, reason: Any) -> None:
        if client is not self._client:
            return
        log.warning("commands_disconnected", why=str(reason))
        self._connected = False
        self._gone.set()

    def _on_publish(self, client: mqtt.Client, mid: int, reason: Any) -> None:
        command = self._taken.pop(mid, None) if client is self._client else None
        if command is not None:
            self._at_broker.put_nowait((command, not reason.is_failure))

    # ── the database ──

    async def _send(self) -> None:
        while True:
            self.wake.clear()
            try:
                if self._connected and (owned := list(self._owned())):
                    await self._send_due(owned)
            except RETRYABLE as error:
                log.warning("commands_wait", why=f"{type(error).__name__}: {error}")
            except Exception as error:
                log.error("commands_failed", why=str(error), exc_info=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._tick_s):
                    await self.wake.wait()

    async def _send_due(self, owned: list[int]) -> None:
        while True:
            async with self._pool.acquire() as connection, connection.transaction():
                out = await ledger.hand_out(connection, owned, self._clock.now())
            if out.withdrawn:
                metrics.COMMANDS_WITHDRAWN.inc(out.withdrawn)
            for row in out.rows:
                self._publish(row)
            if not out.rows and not out.withdrawn:
                return

    async def _prove(self) -> None:
        """Looks whether readings and events show what devices were told; they are there 0.2 s after they came."""
        while True:
            try:
                if owned := list(self._owned()):
                    async with self._pool.acquire() as connection:
                        shown = await ledger.prove(connection, owned, self._clock.now(), plans.told_late)
                    metrics.COMMANDS_CONFIRMED.inc(len(shown))
            except RETRYABLE as error:
                log.warning("commands_wait", why=f"{type(error).__name__}: {error}")
            except Exception as error:
                log.error("commands_failed", why=str(error), exc_info=error)
            await asyncio.sleep(min(_LOOK_S, self._tick_s))

    def _publish(self, row: asyncpg.Record) -> None:
        client = self._client
        if client is None:
            return
        now_ms = round(self._clock.now().timestamp() * 1000)
        left_ms = row["expires_ms"] - now_ms
        if left_ms <= 0:
            return
        body = {
            "id": str(row["id"]),
            "ts": row["requested_ms"],
            "command": row["name"],
            "params": row["params"],
            "expires": row["expires_ms"],
        }
        if row["publisher"] != row["device_id"]:
            body["device"] = row["device_id"]
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        # Whole seconds, rounded up: the payload's own expiry is exact.
        properties.MessageExpiryInterval = max(1, -(-left_ms // 1000))
        topic = f"sc/{row['community_id']}/{row['publisher']}/down/command"
        info = client.publish(topic, json.dumps(body, ensure_ascii=False).encode(), qos=1, properties=properties)
        self._taken[info.mid] = row["id"]
        log.info(
            "command_published",
            correlation=row["correlation"],
            command_id=str(row["id"]),
            device=row["device_id"],
            name=row["name"],
        )

    async def _mark(self) -> None:
        """What the broker has is sent; what it refused is sent again, as is what it never answered."""
        while True:
            command, taken = await self._at_broker.get()
            if not taken:
                log.error(
                    "command_refused", command_id=str(command), why="the broker does not let us; see its access list"
                )
                continue
            metrics.COMMANDS.inc()
            try:
                async with self._pool.acquire() as connection:
                    await ledger.mark_sent(connection, [command], self._clock.now())
            except RETRYABLE as error:
                log.warning("command_not_marked", command_id=str(command), why=str(error))
