"""What is told of a committed batch: figures for the metrics, a line a call, a line where much is refused."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

import structlog

from services.domain.ids import correlation_id
from services.domain.messages import Lane, Reason
from services.ingest import metrics
from services.ingest.acks import outcome_counts
from services.ingest.batch import Batch
from services.ingest.checked import Outcome

log = structlog.get_logger(__name__)

_SAY_EVERY_S = 10.0


class Teller:
    """Of one lane. `debug`: a line for each reading too."""

    def __init__(self, lane: Lane, debug: bool, now_ms: Callable[[], int]) -> None:
        self._lane = lane
        self._debug = debug
        self._now_ms = now_ms
        self._said_at: dict[Reason, float] = {}

    def tell(self, batch: Batch) -> None:
        self._measure(batch)
        self._tell(batch)

    def _measure(self, batch: Batch) -> None:
        lane, checked = self._lane, batch.checked
        metrics.BATCH.labels(lane).observe(len(batch.messages))
        for outcome, count in outcome_counts(checked, len(batch.written.heard_again)).items():
            if count:
                metrics.MESSAGES.labels(lane, outcome.value).inc(count)
        stored = [*checked.plain.vals, *(r.vals for r in checked.readings if r.outcome is Outcome.STORED)]
        metrics.READINGS.inc(sum(map(len, stored)) - sum([vals.count(None) for vals in stored]))
        for bad in (*checked.bad_values, *batch.written.conflicts):
            metrics.BAD_VALUES.labels(bad.reason.value).inc()
        now_ms = self._now_ms()
        times = (checked.plain.ts_ms, *([item.ts_ms for item in of] for of in (checked.readings, checked.happenings)))
        for ts_ms in (ts for some in times for ts in some[:: max(1, len(some) // 8)]):
            metrics.LAG.labels(lane).observe(max(0.0, (now_ms - ts_ms) / 1000))

    def _tell(self, batch: Batch) -> None:
        checked = batch.checked
        reasons = Counter(refusal.rejected.reason for refusal in checked.refusals)
        for items in (checked.readings, checked.happenings):
            reasons.update(item.refusal.reason for item in items if item.refusal is not None)
        now = time.monotonic()
        for reason, count in reasons.items():
            metrics.REJECTED.labels(self._lane, reason.value).inc(count)
            if now - self._said_at.get(reason, -_SAY_EVERY_S) >= _SAY_EVERY_S:
                self._said_at[reason] = now
                log.warning("messages_rejected", lane=self._lane, reason=reason.value, count=count)
        for happening in checked.happenings:
            log.info(
                "event_committed" if happening.outcome is Outcome.STORED else "event_not_new",
                correlation=correlation_id(happening.device.id, happening.ts_ms),
                device_event=happening.event,
                outcome=happening.outcome.value,
            )
        if self._debug:
            checked.unfold()
            for reading in checked.readings:
                log.debug(
                    "reading_committed",
                    correlation=correlation_id(reading.device.id, reading.ts_ms),
                    outcome=reading.outcome.value,
                )
