"""What ingest counts for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)

MESSAGES = Counter("linhub_ingest_messages", "Messages by how they ended", ["lane", "outcome"])
REJECTED = Counter("linhub_ingest_rejected", "Rejected messages by reason", ["lane", "reason"])
BAD_VALUES = Counter("linhub_ingest_bad_values", "Single values put in quarantine, by reason", ["reason"])
READINGS = Counter("linhub_ingest_readings", "Single numbers stored")
BATCH = Histogram(
    "linhub_ingest_batch_messages", "Messages in a batch", ["lane"], buckets=(1, 5, 25, 100, 500, 1000, 2500, 5000)
)
COMMIT = Histogram("linhub_ingest_commit_seconds", "One batch's transaction", ["lane"], buckets=_SECONDS)
LAG = Histogram("linhub_ingest_lag_seconds", "From the device's time to the commit", ["lane"], buckets=_SECONDS)
QUEUE = Gauge("linhub_ingest_queue_messages", "Arrived and not yet in a batch", ["lane"])
CONNECTIONS = Counter("linhub_ingest_broker_connections", "Times the broker connection was made", ["lane"])
CONNECTED = Gauge("linhub_ingest_broker_connected", "Sessions that are subscribed", ["lane"])
PARTITIONS = Gauge("linhub_ingest_partitions", "Partitions that this worker owns")
RETRIES = Counter("linhub_ingest_database_retries", "Attempts at a batch that the database did not take", ["lane"])
STALE_ACKS = Counter("linhub_ingest_stale_acks", "Messages committed after their connection was gone", ["lane"])
STATES = Counter("linhub_ingest_device_states", "Device states written")
