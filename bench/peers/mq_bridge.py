"""mq-bridge, a Rust core with Python bindings: a route from MQTT to a table, one row a message, in batches."""

from __future__ import annotations

import json
from pathlib import Path

from bench.peers.install import Peers
from bench.peers.peer import Command
from services.adapters.mqtt import Address

BATCH = 2500
CLIENT = "peer-mq-bridge"
_RUN = """
import json, sys
import mq_bridge
mq_bridge.init_logging("warn")
mq_bridge.Route.from_config(json.load(open(sys.argv[1]))).run()
"""


def command(peers: Peers, folder: Path, mqtt_url: str, database_url: str) -> Command:
    address = Address.parse(mqtt_url)
    route = {
        "input": {
            "mqtt": {
                "url": f"tcp://{address.host}:{address.port}",
                "topic": "sc/+/+/up/telemetry",
                "username": address.username,
                "password": address.password,
                "client_id": CLIENT,
                "qos": 1,
                "max_inflight": 20_000,
                "queue_capacity": 20_000,
                "session_expiry_interval": 4294967295,
            }
        },
        "output": {
            "sqlx": {
                "url": database_url.replace("postgresql://", "postgres://", 1),
                "table": "message",
            }
        },
        "batch_size": BATCH,
    }
    (folder / "route.json").write_text(json.dumps(route))
    (folder / "route.json").chmod(0o600)
    (folder / "run.py").write_text(_RUN)
    return Command((str(peers.python), str(folder / "run.py"), str(folder / "route.json")), {}, client_id=CLIENT)
