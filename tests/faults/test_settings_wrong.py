"""A wrong setting: one line that names the variable, exit 2, nothing started."""

from __future__ import annotations

import asyncio
import importlib
import os
from urllib.parse import urlsplit, urlunsplit

import pytest

from tests.api_server import KEY
from tests.conftest import Mqtt
from tests.fault_kit import IngestProcess, ServiceProcess

RIGHT = {
    "LINHUB_DATABASE_URL": "postgresql://linhub@127.0.0.1:1/linhub",
    "LINHUB_MQTT_URL": "mqtt://svc-ingest:secret-word@127.0.0.1:1",
    "LINHUB_SECRET_KEY": KEY,
}
SERVICES: dict[str, dict[str, tuple[str | None, ...]]] = {
    "ingest": {
        "LINHUB_MQTT_URL": (None, "http://svc-ingest:secret-word@broker:1883"),
        "LINHUB_MQTT_CLIENT_PREFIX": ("Wrong Name",),
        "LINHUB_WORKER": ("Wrong Name",),
    },
    "alerts": {"LINHUB_ALERTS_LEASE_S": ("0", "soon")},
    "api": {"LINHUB_SECRET_KEY": (None, "too-short"), "LINHUB_HTTP_PORT": ("http",)},
}
EVERYWHERE: dict[str, tuple[str | None, ...]] = {
    "LINHUB_DATABASE_URL": (None, "mysql://linhub:secret-word@db/linhub"),
    "LINHUB_LOG_LEVEL": ("LOUD",),
    "LINHUB_HEALTH_PORT": ("70000",),
}
CASES = [
    (service, variable, value)
    for service, own in SERVICES.items()
    for variable, values in {**EVERYWHERE, **own}.items()
    for value in values
]


@pytest.mark.parametrize(("service", "variable", "value"), CASES)
def test_service_with_a_wrong_setting_names_it_in_one_line_and_exits_2(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    service: str,
    variable: str,
    value: str | None,
) -> None:
    for name in [name for name in os.environ if name.startswith("LINHUB_")]:
        monkeypatch.delenv(name)
    for name, right in RIGHT.items():
        monkeypatch.setenv(name, right)
    if value is None:
        monkeypatch.delenv(variable)
    else:
        monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"services.{service}.main").main()
    out, err = capfd.readouterr()
    assert ended.value.code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith(f"linhub: {variable} is {'not set' if value is None else 'wrong: '}")
    assert "secret-word" not in err and "too-short" not in err


async def test_service_whose_login_the_database_refuses_names_the_variable_and_exits_2(
    database_url: str, mqtt: Mqtt
) -> None:
    parts = urlsplit(database_url)
    wrong = urlunsplit(parts._replace(netloc=f"nobody:secret-word@{parts.hostname}:{parts.port}"))
    services = [
        IngestProcess(wrong, mqtt.url, "t-refused"),
        ServiceProcess("alerts", wrong),
        ServiceProcess("api", wrong, secret_key=KEY),
    ]
    for service in services:
        await service.start()
    try:
        codes = await asyncio.gather(*(service.exit_code() for service in services))
    finally:
        for service in services:
            await service.kill()
    assert codes == [2, 2, 2]
    for service in services:
        said = "\n".join(service.lines)
        assert len(service.lines) == 1, said
        assert said.startswith("linhub: LINHUB_DATABASE_URL is wrong: the database refuses the login")
        assert "secret-word" not in said
