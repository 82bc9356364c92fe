"""One TCP connection that speaks MQTT 5: reads, writes once a turn, and notices when the broker falls silent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from services.adapters import mqtt_packets as packets
from services.adapters.mqtt import Inbound
from services.adapters.mqtt_decoder import Decoder
from services.adapters.mqtt_packets import Control, PingResp, ProtocolError
from services.adapters.steady_clock import wall_ms

_LOOKS = 8
"""Times a keepalive that the silence is looked at."""


class Link(asyncio.Protocol):
    """`handle` gets every packet but messages and pings, `deliver` the messages; either may call `end`.

    A ping goes out every half keepalive, under load too: acknowledgements can be lost on a path on which messages still
    arrive. Unanswered for a whole keepalive it ends the link. While reading is paused no answer can be seen, so none is
    missed; a dead machine is then noticed by TCP_USER_TIMEOUT.
    """

    def __init__(
        self,
        keepalive_s: float,
        generation: int,
        handle: Callable[[Control], None],
        deliver: Callable[[list[Inbound]], None],
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder(generation)
        self._handle = handle
        self._deliver = deliver
        self._now_ms = now_ms
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._pinged_at = self._loop.time()
        self._unanswered_since: float | None = None
        self.keepalive_s = keepalive_s
        self.paused = False
        self.generation = generation
        self.lost: asyncio.Future[str] = self._loop.create_future()
        """Why it ended."""
        self.gone: asyncio.Future[None] = self._loop.create_future()
        """Done when nothing of it is left, sent or dropped."""

    # Writing

    def send(self, data: bytes) -> None:
        """With everything else of this turn of the event loop."""
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        out, self._out = self._out, []
        if self._transport is not None and not self._transport.is_closing() and out:
            self._transport.write(b"".join(out))

    def end(self, why: str, reason: int | None = None) -> None:
        """Closes after what was written before; with `reason` it says goodbye. The first `why` counts."""
        if self.lost.done():
            return
        self.lost.set_result(why)
        if reason is not None:
            self._out.append(packets.disconnect(reason))
        self._flush()
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()

    def say_goodbye(self, within_s: float) -> None:
        """Ends in order: the broker gets all that was sent, and hangs up.

        To close over what is still to be read would reset the connection, and the broker would throw away the
        acknowledgements it has not read yet.
        """
        if self.lost.done() or self._transport is None:
            return
        self.lost.set_result("closed")
        self._out.append(packets.disconnect(0))
        self._flush()
        if self._timer is not None:
            self._timer.cancel()
        self.resume()
        self._transport.write_eof()
        self._timer = self._loop.call_later(within_s, self._transport.abort)

    def abort(self) -> None:
        """Lets go at once, whatever was to be sent."""
        self.end("given up")
        if self._transport is not None:
            self._transport.abort()

    # Reading

    def pause(self) -> None:
        if not self.paused and self._transport is not None and not self._transport.is_closing():
            self.paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        if self.paused and self._transport is not None:
            self.paused = False
            if self._unanswered_since is not None:
                self._unanswered_since = self._loop.time()
            if not self._transport.is_closing():
                self._transport.resume_reading()

    # Called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is none of asyncio's classes, though it has all their methods.
        self._transport = cast(asyncio.Transport, transport)
        self._look_later()

    def data_received(self, data: bytes) -> None:
        if self.lost.done():
            return
        try:
            messages, control = self._decoder.feed(data, self._now_ms())
            for packet in control:
                if isinstance(packet, PingResp):
                    self._unanswered_since = None
                else:
                    self._handle(packet)
            if messages and not self.lost.done():
                self._deliver(messages)
        except ProtocolError as error:
            self.end(f"the broker broke the protocol: {error}", error.code)

    def connection_lost(self, error: Exception | None) -> None:
        self.end(f"the connection broke: {error}" if error else "the broker closed the connection")
        if self._timer is not None:
            self._timer.cancel()
        if not self.gone.done():
            self.gone.set_result(None)

    def _look_later(self) -> None:
        pause = self.keepalive_s / _LOOKS
        self._timer = self._loop.call_later(pause, self._look, self._loop.time() + pause)

    def _look(self, due: float) -> None:
        now = self._loop.time()
        overslept = now - due > self.keepalive_s / _LOOKS
        if self._unanswered_since is not None:
            if overslept:
                # The answer may be there, unread: a process that was frozen must not blame the broker.
                self._unanswered_since = now
            elif now - self._unanswered_since >= self.keepalive_s:
                self.end(f"the broker has not answered for {self.keepalive_s:g} s", packets.KEEP_ALIVE_TIMEOUT)
                self.abort_soon()
                return
        if now - self._pinged_at >= self.keepalive_s / 2 and (self._unanswered_since is None or self.paused):
            self._pinged_at = now
            # While nothing is read each ping begins the wait anew, so that it never ends.
            self._unanswered_since = now
            self.send(packets.PING)
        self._look_later()

    def abort_soon(self) -> None:
        """Nobody is there to read what is still to be written."""
        if self._transport is not None:
            self._loop.call_soon(self._transport.abort)
