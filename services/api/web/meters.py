"""What the API counts about itself, as Prometheus metrics."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

REQUESTS = Counter("linhub_api_requests_total", "Requests answered", ["method", "route", "status"])
LATENCY = Histogram(
    "linhub_api_request_seconds",
    "Time to the first byte of the answer",
    ["route"],
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
)
LOGINS = Counter("linhub_api_logins_total", "Attempts to log in", ["outcome"])
REPORTS = Counter("linhub_api_reports_total", "Reports by residents", ["category", "outcome"])
STREAMS = Gauge("linhub_api_streams_open", "Live streams open now")
SENT = Counter("linhub_api_stream_events_total", "Events handed to live streams", ["event"])
DROPPED = Counter("linhub_api_stream_dropped_total", "Events dropped because a reader was too slow")
CUT = Counter("linhub_api_streams_cut_total", "Live streams ended by the server", ["why"])
UPLOADS = Counter("linhub_api_evidence_uploads_total", "Files sent as evidence", ["sort", "result"])
UPLOAD_BYTES = Counter("linhub_api_evidence_stored_bytes_total", "Bytes of evidence stored", ["sort"])
UNREADABLE = Counter("linhub_api_evidence_unreadable_total", "Evidence that could not be shown", ["why"])
LAG = Gauge("linhub_api_outbox_read_age_seconds", "Seconds since the outbox was last read to its end")
