"""docker-compose.yml: valid by the Compose Specification, closed by default, asking only for what somebody makes."""

from __future__ import annotations

import copy
import fnmatch
import re
from typing import Any

import jsonschema
import pytest

from services.alerts.settings import AlertSettings
from services.cli.init import SECRETS
from tests.contract.compose import OURS, ROOT, copies, environment, interpolate, load, schema, variables

SERVICES = load()["services"]


def problems(document: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema())
    return [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(document)]


def test_compose_file_is_valid_by_the_specification() -> None:
    assert problems(load()) == []


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("services", "api", "prots"), ["8080"]),
        (("services", "api", "depends_on"), {"migrate": {"condition": "service_ready"}}),
        (("services", "api", "healthcheck"), {"test": 5}),
        (("volumes",), ["database"]),
    ],
)
def test_compose_schema_would_notice_a_mistake(where: tuple[str, ...], value: object) -> None:
    document = copy.deepcopy(load())
    place = document
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    assert problems(document)


def test_compose_asks_for_exactly_the_secrets_that_init_makes() -> None:
    required = {name for name, operator in variables().items() if operator == ":?"}
    assert required == set(SECRETS)
    assert not {name for name, operator in variables().items() if operator == ""}


def test_compose_has_no_password_of_its_own() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN", variable) or re.search(r"://[^/@]*:[^/@]*@", str(value)):
                assert re.search(r"\$\{LINHUB_[A-Z_]+:(\?|-\})", str(value)), (
                    f"{name}: {variable} has a value of its own"
                )


@pytest.mark.parametrize("secret", sorted(SECRETS))
def test_compose_refuses_to_start_without_a_secret(secret: str) -> None:
    values = {name: "x" for name in SECRETS if name != secret}
    with pytest.raises(KeyError, match=secret):
        for service in SERVICES.values():
            for text in service.get("environment", {}).values():
                interpolate(str(text), values)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_compose_service_may_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "pid", "ipc", "devices"} & set(service)
    assert not [volume for volume in service.get("volumes", []) if "docker.sock" in volume]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) >= {"cpus", "memory"}
    assert service["logging"]["options"]["max-size"]
    if service["image"] != OURS:
        uid = int(service["user"].split(":")[0])
        assert uid > 0
    else:
        assert service.get("user", "10001:10001") != "0:0"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_compose_image_is_pinned_to_a_release(name: str) -> None:
    tag = SERVICES[name]["image"].rpartition(":")[2]
    assert re.match(r"\d+\.\d+\.\d+", tag), SERVICES[name]["image"]


def test_compose_database_and_broker_are_the_versions_of_the_embedded_stack() -> None:
    assert re.search(r"timescaledb:2\.19\.\d+-pg17-oss$", SERVICES["database"]["image"])
    assert re.search(r"eclipse-mosquitto:2\.0\.\d+$", SERVICES["broker"]["image"])


def test_compose_publishes_the_api_alone_and_to_this_machine_only() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if service.get("ports")}
    assert list(published) == ["api"]
    assert [interpolate(port, {}) for port in published["api"]] == ["127.0.0.1:8080:8080"]
    assert load()["networks"]["inside"]["internal"] is True
    # The alert engine sends notices to channels outside; nothing reaches it from there, since it has no port.
    assert {name for name, service in SERVICES.items() if "outside" in service["networks"]} == {"alerts", "api"}


def test_compose_alert_engine_starts_with_and_without_a_public_address() -> None:
    secrets = dict.fromkeys(SECRETS, "x" * 32)
    given = environment(SERVICES["alerts"], secrets)
    settings: dict[str, Any] = {name.removeprefix("LINHUB_").lower(): value for name, value in given.items()}
    assert AlertSettings(**settings).public_url is None
    told = environment(SERVICES["alerts"], {**secrets, "LINHUB_PUBLIC_URL": "https://hub.example"})
    assert AlertSettings(**{**settings, "public_url": told["LINHUB_PUBLIC_URL"]}).public_url == "https://hub.example"


def test_compose_database_has_the_extensions_that_migrations_ask_for() -> None:
    """The image is built on PostgreSQL's own, which holds all of contrib; beyond that it has TimescaleDB alone."""
    asked = set()
    for path in ROOT.glob("migrations/*.sql"):
        asked |= set(re.findall(r"^CREATE EXTENSION IF NOT EXISTS (\w+)", path.read_text(), re.M))
    assert asked == {"timescaledb", "btree_gist"}


def test_compose_says_when_each_lasting_service_is_healthy_and_restarts_it() -> None:
    for name, service in SERVICES.items():
        if service["restart"] == "no":
            assert "healthcheck" not in service, name
        else:
            assert service["restart"] == "unless-stopped", name
            assert {"test", "interval", "timeout", "retries"} <= set(service["healthcheck"]), name


def test_compose_starts_each_service_after_what_it_needs_is_ready() -> None:
    for name, service in SERVICES.items():
        for needed, condition in service.get("depends_on", {}).items():
            once = SERVICES[needed]["restart"] == "no"
            expected = "service_completed_successfully" if once else "service_healthy"
            assert condition["condition"] == expected, f"{name} needs {needed}"
            profiles = set(SERVICES[needed].get("profiles", []))
            assert profiles <= set(service.get("profiles", [])), f"{name} needs {needed}, which is not always there"
        for text in service.get("environment", {}).values():
            for host in re.findall(r"(?:@|://)([a-z]+):\d+", str(text)):
                assert host in SERVICES, f"{name} speaks to {host}, which is no service"


def test_compose_starts_the_demo_parts_only_when_asked() -> None:
    assert {name for name, service in SERVICES.items() if service.get("profiles") == ["demo"]} == {"seed", "simulator"}


def test_compose_mounts_only_declared_volumes_and_files_that_exist() -> None:
    declared = set(load()["volumes"])
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in declared, f"{name}: {volume}"


# The image


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps this path of the repository out; its last matching line decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.lstrip("!").rstrip("/")
        parts = path.rstrip("/").split("/")
        heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
        names = parts if pattern.startswith("**/") else heads
        if any(fnmatch.fnmatchcase(name, pattern.removeprefix("**/")) for name in names):
            out = not line.startswith("!")
    return out


def test_dockerfile_copies_only_what_exists_and_is_let_through() -> None:
    wanted = [source for item in copies() if item.origin is None for source in item.sources]
    assert wanted
    for source in wanted:
        assert (ROOT / source).exists(), source
        assert not ignored(source), f"{source} is kept out by .dockerignore"


def test_dockerignore_keeps_secrets_and_local_state_out() -> None:
    for path in (".env", ".git/config", ".venv/bin/python", ".linhub/data", "services/api/cockpit/node_modules/x"):
        assert ignored(path), path


def test_dockerfile_runs_as_an_ordinary_user_and_checks_hashes() -> None:
    text = (ROOT / "deploy" / "images" / "Dockerfile").read_text()
    assert re.findall(r"^USER (.+)$", text, re.M) == ["10001:10001"]
    assert text.count("pip install") == text.count("--require-hashes")
    assert "npm ci" in text
    for image in re.findall(r"^FROM (\S+)", text, re.M):
        assert re.search(r":\d+(\.\d+)?-", image), f"{image} is not pinned"
