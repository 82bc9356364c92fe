"""One device's MQTT connection on the event loop: last will, QoS 1, and resending until the application ack."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from device_sim.broker import Broker, Traffic
from device_sim.obeyed import Obeyed
from device_sim.paho_loop import bind, first, unbind
from device_sim.spool import Entry, Spool

log = logging.getLogger(__name__)

KEEPALIVE_S = 60
SESSION_EXPIRY_S = 0xFFFFFFFF
WILL_DELAY_S = 1
"""A blink of the network shorter than this is nobody's business; the broker keeps the will back."""
CONNECT_TIMEOUT_S = 10.0
BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 60.0
MAX_UNSENT = 200
"""Messages handed to the socket and not yet acknowledged by the broker; the rest waits in the spool."""
_TAKEN_OVER = 0x8E


Command = dict[str, Any]


class Uplink:
    """The connection of one device. `client_id` is its id: the broker lets nobody else in under it.

    Everything with an `id` stays in the spool until it stands in a `down/ack`.
    """

    def __init__(
        self,
        broker: Broker,
        community: str,
        device: str,
        secret: str | None,
        *,
        traffic: Traffic | None = None,
        spool: Spool | None = None,
        on_command: Callable[[Command], tuple[bool, str]] | None = None,
        held: Callable[[str], bool] = lambda _: False,
        with_status: bool = True,
        obeyed: Obeyed | None = None,
    ) -> None:
        self.device = device
        self.spool = spool or Spool()
        self.traffic = traffic or Traffic()
        self.session = 0
        self.rejections: dict[str, str] = {}
        self.away_until = 0.0
        """On the monotonic clock: a device without power does not come back before."""
        self._broker, self._secret = broker, secret
        self._up, self._down = f"sc/{community}/{device}/up/", f"sc/{community}/{device}/down/"
        self._on_command, self._held, self._with_status = on_command, held, with_status
        self._client: mqtt.Client | None = None
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._closed = asyncio.Event()
        self._reason = ""
        self._taken_over = False
        self._acks: dict[str, asyncio.Future[bool]] = {}
        self._obeyed = obeyed or Obeyed()
        self._sequence = 0
        self._unsent = 0
        self._drained = asyncio.Event()

    @property
    def connected(self) -> bool:
        return self._ready.is_set()

    # ── what the device says ──

    def next_id(self, ts_ms: int) -> str:
        self._sequence += 1
        return f"{ts_ms:x}-{self.session % 1_000_000:x}-{self._sequence:x}"

    def send(self, channel: str, body: dict[str, Any] | list[dict[str, Any]], *, urgent: bool = False) -> str:
        """Spools a message (a list is one gateway batch under one id) and sends it now if it can; the id."""
        first = body[0] if isinstance(body, list) else body
        message_id = self.next_id(int(first["ts"]))
        for item in body if isinstance(body, list) else [body]:
            item["id"] = message_id
        entry = Entry(message_id, channel, json.dumps(body, separators=(",", ":")).encode(), urgent)
        self.spool.add(entry)
        if self.connected:
            self._transmit(entry)
        return message_id

    def refresh_status(self, ts_ms: int) -> None:
        """Says again that it is there: the heartbeat of a device without metrics."""
        if self.connected and self._client:
            self._publish(self._client, "status", self._status(ts_ms, True), retain=True)

    def say_status(self, device: str, online: bool, ts_ms: int) -> None:
        """Of a device behind this one: whether it answers on its bus. Not retained, and not said again."""
        if self.connected and self._client:
            body = {"device": device, "ts": ts_ms, "online": online, "session": ts_ms}
            self._publish(self._client, "status", json.dumps(body).encode())

    async def stored(self, message_id: str, timeout_s: float) -> bool:
        """Waits for the application ack: True stored (or a duplicate), False rejected. Raises TimeoutError."""
        future = self._acks.setdefault(message_id, self._loop.create_future())
        if message_id not in self.spool and not future.done():
            future.set_result(message_id not in self.rejections)
        try:
            return await asyncio.wait_for(asyncio.shield(future), timeout_s)
        finally:
            self._acks.pop(message_id, None)

    def resend_due(self) -> None:
        """Sends again what has waited long enough; call about once a second."""
        if not self.connected:
            return
        for entry in self.spool.due(time.monotonic()):
            if entry.attempts:
                self.traffic.resent += 1
            self._transmit(entry)

    def _transmit(self, entry: Entry) -> None:
        client = self._client
        if client is None or self._unsent >= MAX_UNSENT:
            return
        self.spool.sent(entry, time.monotonic())
        self._publish(client, entry.channel, entry.payload)

    def _publish(self, client: mqtt.Client, channel: str, payload: bytes, *, retain: bool = False) -> None:
        self._unsent += 1
        self._drained.clear()
        client.publish(self._up + channel, payload, qos=1, retain=retain)
        self.traffic.published += 1

    def _published(self, client: mqtt.Client, *_: Any) -> None:
        if client is self._client:
            self._unsent -= 1
            if self._unsent == 0:
                self._drained.set()

    def _status(self, ts_ms: int, online: bool) -> bytes:
        return json.dumps({"ts": ts_ms, "online": online, "session": self.session}).encode()

    # ── the connection ──

    async def run(self, stop: asyncio.Event, gate: asyncio.Semaphore | None = None) -> None:
        """Keeps the connection until `stop`; waits longer after each failure, never in step with its neighbours."""
        failures = 0
        while not stop.is_set():
            try:
                async with gate or contextlib.nullcontext():
                    await self.connect()
                failures = 0
                await first(self._closed.wait(), stop.wait())
            except (OSError, TimeoutError, ConnectionError) as error:
                self._drop()
                failures += 1
                log.debug("%s cannot connect: %s", self.device, error)
            if stop.is_set():
                break
            while time.monotonic() < self.away_until and not stop.is_set():
                await first(asyncio.sleep(1.0), stop.wait())
            most = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2**failures)
            pause = random.uniform(most / 2, most) + (5.0 if self._taken_over else 0.0)
            await first(asyncio.sleep(pause), stop.wait())
            # Last of all: another story may have taken it meanwhile, and would be pushed off.
            while self._held(self.device) and not stop.is_set():
                await first(asyncio.sleep(random.uniform(0.5, 1.0)), stop.wait())
        await self.close()

    async def connect(self) -> None:
        """Connects once. Raises OSError, TimeoutError, or ConnectionRefusedError with the broker's words."""
        self.session = max(self.session + 1, int(time.time() * 1000))
        self._ready.clear()
        self._closed.clear()
        self._taken_over, self._reason = False, ""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.device, protocol=mqtt.MQTTv5)
        self._client = client
        if self._secret is not None:
            client.username_pw_set(self.device, self._secret)
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(MAX_UNSENT)
        client.connect_timeout = CONNECT_TIMEOUT_S / 2
        client.suppress_exceptions = False
        bind(client, self._loop)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._message
        client.on_publish = self._published
        self._unsent = 0
        self._drained.set()
        if self._with_status:
            delay = _properties(PacketTypes.WILLMESSAGE)
            delay.WillDelayInterval = WILL_DELAY_S
            offline = self._status(int(time.time() * 1000), False)
            client.will_set(f"{self._up}status", offline, qos=1, retain=True, properties=delay)
        keep = _properties(PacketTypes.CONNECT)
        keep.SessionExpiryInterval = SESSION_EXPIRY_S
        client.connect_async(
            self._broker.host, self._broker.port, keepalive=KEEPALIVE_S, clean_start=False, properties=keep
        )
        await self._loop.run_in_executor(self._broker.threads, client.reconnect)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await first(self._ready.wait(), self._closed.wait())
        if not self._ready.is_set():
            raise ConnectionRefusedError(self._reason or "connection closed")

    async def close(self) -> None:
        """Takes leave: the broker publishes no last will, so the device says itself that it goes."""
        client = self._client
        if client is None or not self.connected:
            return
        if self._with_status:
            self._publish(client, "status", self._status(int(time.time() * 1000), False), retain=True)
        await self._drain(client)

    async def leave(self) -> None:
        """Hangs up without a word about being online or not."""
        if self._client is not None and self.connected:
            await self._drain(self._client)

    async def _drain(self, client: mqtt.Client) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                await first(self._drained.wait(), self._closed.wait())
        client.disconnect()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), 2)
        self._drop()

    def cut(self) -> None:
        """The power fails: the socket is gone without DISCONNECT, and the broker speaks the last will."""
        self._drop()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if self._ready.is_set():
            self._ready.clear()
            self.traffic.connected -= 1
        if client is not None:
            unbind(client, self._loop)
        self._closed.set()

    def misc(self) -> None:
        """Keep-alive; call about once a second."""
        if self._client is not None and self.connected:
            self._client.loop_misc()

    # ── paho's callbacks ──

    def _connected(self, client: mqtt.Client, _: Any, __: Any, reason: ReasonCode, ___: Any) -> None:
        if client is not self._client:
            return
        if reason.is_failure:
            self._reason = str(reason)
            self.traffic.refused = f"{self.device}: {self._reason}"
            self._closed.set()
            return
        # As published: what was meant to be kept says so even where it comes at once.
        client.subscribe(f"{self._down}#", options=SubscribeOptions(qos=1, retainAsPublished=True))
        self.traffic.connected += 1
        self.traffic.connects += 1
        self._ready.set()
        if self._with_status:
            self.refresh_status(int(time.time() * 1000))
        self.spool.reconnected()
        self.resend_due()

    def _disconnected(self, client: mqtt.Client, _: Any, __: Any, reason: ReasonCode, ___: Any) -> None:
        if client is not self._client:
            return
        self._reason = self._reason or str(reason)
        self._taken_over = reason.value == _TAKEN_OVER
        if self._ready.is_set():
            self._ready.clear()
            self.traffic.connected -= 1
        self._closed.set()

    def _message(self, client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        try:
            body = json.loads(message.payload)
            if message.topic.endswith("/ack"):
                self._acknowledged(body)
            elif message.topic.endswith("/command"):
                if message.retain:
                    # A command is said once. What a broker keeps for whoever comes later is not one.
                    log.warning("%s was handed a kept command and ignores it", self.device)
                    return
                self._commanded(client, body)
        except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            log.warning("%s was sent what it cannot read on %s: %s", self.device, message.topic, error)

    def _acknowledged(self, body: dict[str, Any]) -> None:
        for message_id in body.get("ids", ()):
            if self.spool.acknowledge(message_id):
                self.traffic.acknowledged += 1
            self._resolve(message_id, True)
        for item in body.get("rejected", ()):
            message_id = item.get("id")
            if message_id is None:
                continue
            if self.spool.acknowledge(message_id):
                self.traffic.rejected += 1
                log.warning("%s: %s was rejected: %s %s", self.device, message_id, item["reason"], item.get("detail"))
            self.rejections[message_id] = f"{item['reason']}: {item.get('detail', '')}"
            if len(self.rejections) > 50:
                del self.rejections[next(iter(self.rejections))]
            self._resolve(message_id, False)
        if self.spool:
            self.resend_unsent()

    def resend_unsent(self) -> None:
        """Room came free: what never left goes out."""
        for entry in list(self.spool.due(time.monotonic())):
            if entry.attempts == 0:
                self._transmit(entry)

    def _resolve(self, message_id: str, stored: bool) -> None:
        future = self._acks.get(message_id)
        if future is not None and not future.done():
            future.set_result(stored)

    def _commanded(self, client: mqtt.Client, body: Command) -> None:
        """Carries a command out at most once, however often it comes and whatever dies meanwhile; answers each time."""
        command_id, now = str(body["id"]), int(time.time() * 1000)
        answer = self._obeyed.answer(self.device, command_id)
        if answer is None:
            answer = self._carry_out(command_id, body, now)
        ok, detail = answer
        reply = {"id": command_id, "ts": now, "ok": ok, "detail": detail}
        self._publish(client, "reply", json.dumps(reply).encode())

    def _carry_out(self, command_id: str, body: Command, now: int) -> tuple[bool, str]:
        """What has no expiry, or has passed it by the device's own clock, is refused whoever sent it."""
        expires = body.get("expires")
        if isinstance(expires, bool) or not isinstance(expires, int):
            return False, "no expiry"
        self.traffic.commands += 1
        self._obeyed.begin(self.device, command_id, expires)
        if expires <= now:
            answer = (False, "expired")
        elif self._on_command is None:
            answer = (False, "unknown command")
        else:
            answer = self._on_command(body)
        self._obeyed.end(self.device, command_id, answer)
        return answer


def _properties(packet: int) -> Any:
    return Properties(packet)  # type: ignore[no-untyped-call]
