"""A stage of its own wires: the story's devices connect with their own credentials and wait for every ack."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from device_sim.broker import Broker
from device_sim.held import Held
from device_sim.life import wire
from device_sim.obeyed import Obeyed
from device_sim.theatre.api import Unreachable
from device_sim.theatre.story import StoryError
from device_sim.uplink import Command, Uplink
from services.domain.devices import BY_NAME
from services.domain.devices.kind import DeviceKind, Happens

ACK_S = 10.0
_HELD_S = 0.5


class WireStage:
    """`gateways`: device to the gateway that speaks for it; `kinds`: device to its kind, so that it knows its commands.

    A running fleet lets go of the devices held here.
    """

    def __init__(
        self,
        broker: Broker,
        community: str,
        credentials: Mapping[str, str],
        gateways: Mapping[str, str],
        held: Held | None = None,
        *,
        kinds: Mapping[str, str] | None = None,
        with_status: bool = False,
        obeyed: Obeyed | None = None,
        patience: float = 1.0,
    ) -> None:
        self._broker, self._community, self._credentials = broker, community, credentials
        self._gateways, self._held, self._with_status = gateways, held, with_status
        self._obeyed = obeyed or Obeyed()
        self._kinds = kinds or {}
        self._ack_s = ACK_S * patience
        self._uplinks: dict[str, Uplink] = {}
        self._ticking: asyncio.Task[None] | None = None
        self.said_ms: dict[str, int] = {}
        """Of the newest reading of each device that was told here."""

    def now_ms(self) -> int:
        return int(time.time() * 1000)

    def _speaker(self, device: str) -> str:
        return self._gateways.get(device, device)

    async def open(self, devices: Sequence[str]) -> None:
        """Connects who speaks for these. Raises Unreachable, and StoryError where a secret is missing."""
        speakers = sorted({self._speaker(device) for device in devices})
        missing = [s for s in speakers if s not in self._credentials]
        if missing:
            raise StoryError(f"no secret of {', '.join(missing)} in credentials.json; run `linhub seed`")
        if self._held:
            self._held.hold(speakers)
            # Whoever of the fleet was connecting just now is to be let in before: the broker keeps the later of two.
            await asyncio.sleep(_HELD_S)
        for speaker in speakers:
            self._uplinks[speaker] = Uplink(
                self._broker,
                self._community,
                speaker,
                self._credentials[speaker],
                on_command=partial(self._obey, speaker),
                with_status=self._with_status,
                obeyed=self._obeyed,
            )
            await self._connect(speaker)
        self._ticking = asyncio.create_task(self._tick())

    async def _connect(self, speaker: str) -> None:
        try:
            await self._uplinks[speaker].connect()
        except (OSError, TimeoutError) as error:
            raise Unreachable(
                f"the broker at {self._broker.host}:{self._broker.port} does not let {speaker} in: "
                f"{error or type(error).__name__}"
            ) from error

    def _obey(self, speaker: str, command: Command) -> tuple[bool, str]:
        """Whatever a device of its kind can do is done; (ok, detail)."""
        device, name = str(command.get("device", speaker)), str(command.get("command"))
        kind = BY_NAME.get(self._kinds.get(device, ""))
        if kind is None or self._speaker(device) != speaker:
            return False, f"{device} is not behind {speaker}"
        if name not in {known.name for known in kind.commands}:
            return False, f"{kind.name} has no command {name}"
        asyncio.get_running_loop().call_soon(self._show, speaker, device, kind, command)
        return True, "done"

    def _show(self, speaker: str, device: str, kind: DeviceKind, command: Command) -> None:
        """The reading or the event that proves it, as a device that has just done it sends one."""
        name, params, uplink = str(command["command"]), command.get("params") or {}, self._uplinks.get(speaker)
        proof = next(known.proof for known in kind.commands if known.name == name)
        if uplink is None or proof is None:
            return
        item: dict[str, Any] = {"ts": self.now_ms()} | ({"device": device} if device != speaker else {})
        if isinstance(proof, Happens):
            item |= {"event": proof.event, "data": {"command": command["id"], "seconds": params.get("seconds", 6)}}
            uplink.send("event", [item] if device != speaker else item, urgent=True)
            return
        value = float(params.get(proof.param, 0.0)) if proof.param else proof.low
        item["values"] = {proof.metric: wire(kind, proof.metric, value)}
        uplink.send("telemetry", [item] if device != speaker else item)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            for uplink in self._uplinks.values():
                uplink.misc()
                uplink.resend_due()

    async def close(self) -> None:
        if self._ticking:
            self._ticking.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticking
        for uplink in self._uplinks.values():
            await uplink.leave()
        if self._held:
            self._held.release(self._uplinks)

    async def event(self, device: str, name: str, data: Mapping[str, Any], ts_ms: int) -> None:
        await self._say(device, "event", {"ts": ts_ms, "event": name, "data": dict(data)})

    async def reading(self, device: str, values: Mapping[str, Any], ts_ms: int) -> None:
        await self._say(device, "telemetry", {"ts": ts_ms, "values": dict(values)})
        self.said_ms[device] = max(ts_ms, self.said_ms.get(device, 0))

    async def _say(self, device: str, channel: str, body: dict[str, Any]) -> None:
        speaker = self._speaker(device)
        uplink = self._uplinks[speaker]
        items: dict[str, Any] | list[dict[str, Any]] = body if speaker == device else [{"device": device, **body}]
        message_id = uplink.send(channel, items, urgent=channel == "event")
        try:
            stored = await uplink.stored(message_id, self._ack_s)
        except TimeoutError:
            raise StoryError(
                f"{device}: {channel} was not acknowledged within {self._ack_s:g} s; is services/ingest running?"
            ) from None
        if not stored:
            raise StoryError(f"{device}: {channel} was rejected: {uplink.rejections.get(message_id, '')}")

    async def status(self, device: str, online: bool) -> None:
        self._uplinks[self._speaker(device)].say_status(device, online, self.now_ms())

    async def cut(self, devices: Sequence[str]) -> None:
        for device in devices:
            self._uplinks[self._speaker(device)].cut()

    async def restore(self, devices: Sequence[str]) -> None:
        for device in devices:
            await self._connect(self._speaker(device))
