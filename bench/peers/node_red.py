"""Node-RED as its users build it: an MQTT input, a function that writes to PostgreSQL, one row a message."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bench.peers.install import Peers
from bench.peers.peer import Command
from services.adapters.mqtt import Address

SINGLE = "pool.query('INSERT INTO message (payload) VALUES ($1)', [text], done);"
BATCHED = """
context.rows = context.rows || [];
context.rows.push(text);
if (!context.timer) {
    context.timer = setTimeout(() => {
        const rows = context.rows;
        context.rows = []; context.timer = null;
        pool.query('INSERT INTO message (payload) SELECT unnest($1::bytea[])', [rows], done);
    }, 50);
}
"""


def command(peers: Peers, folder: Path, mqtt_url: str, database_url: str, *, batched: bool) -> Command:
    """Writes a flow and its settings into `folder`; how to start it."""
    address, database = Address.parse(mqtt_url), urlsplit(database_url)
    broker = {
        "id": "broker",
        "type": "mqtt-broker",
        "broker": address.host,
        "port": str(address.port),
        "clientid": "peer-node-red",
        "protocolVersion": "5",
        "keepalive": "60",
        "cleansession": False,
        "autoConnect": True,
        "sessionExpiry": "4294967295",
        "credentials": {"user": address.username, "password": address.password},
    }
    text = "const text = msg.payload;\nconst pool = global.get('pool');\n"
    body = text + "const done = (error) => { if (error) node.error(error); };\n" + (BATCHED if batched else SINGLE)
    flow = [
        {"id": "tab", "type": "tab", "label": "ingest"},
        broker,
        {
            "id": "in",
            "type": "mqtt in",
            "z": "tab",
            "topic": "sc/+/+/up/telemetry",
            "qos": "1",
            "datatype": "buffer",
            "broker": "broker",
            "nl": False,
            "rap": False,
            "rh": 0,
            "inputs": 0,
            "wires": [["store"]],
        },
        {"id": "store", "type": "function", "z": "tab", "func": body, "outputs": 0, "wires": []},
    ]
    connection = {
        "host": database.hostname,
        "port": database.port,
        "user": unquote(database.username or ""),
        "password": unquote(database.password or ""),
        "database": database.path.lstrip("/"),
        "max": 10,
    }
    settings = f"""
const {{ Pool }} = require({json.dumps(str(peers.modules / "pg"))});
module.exports = {{
    flowFile: 'flow.json', uiPort: 0, uiHost: '127.0.0.1', httpAdminRoot: false, httpNodeRoot: false,
    credentialSecret: false, diagnostics: {{ enabled: false }},
    logging: {{ console: {{ level: 'info' }} }},
    functionGlobalContext: {{ pool: new Pool({json.dumps(connection)}) }},
}};
"""
    (folder / "settings.js").write_text(settings)
    credentials = {"broker": broker.pop("credentials")}
    (folder / "flow.json").write_text(json.dumps(flow))
    (folder / "flow_cred.json").write_text(json.dumps(credentials))
    for secret in ("settings.js", "flow_cred.json"):
        (folder / secret).chmod(0o600)
    run = (str(peers.node), str(peers.node_red), "--userDir", str(folder), "--settings", str(folder / "settings.js"))
    return Command(run, {}, client_id="peer-node-red")
