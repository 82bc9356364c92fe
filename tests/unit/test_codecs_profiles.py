"""Vendor profiles: what a vendor's words become, and how a wrong profile is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from services.adapters.profiles import BUILT_IN, ProfileError, load, read
from services.domain.codecs import BY_NAME as CODECS
from services.domain.codecs import Decoded, decode
from services.domain.devices import BY_NAME as KINDS
from services.domain.ids import DeviceId
from services.domain.messages import (
    AT_ARRIVAL_MS,
    NO_SESSION,
    DeviceEvent,
    Reason,
    Rejected,
    Reply,
    StatusChange,
    Telemetry,
)
from services.domain.profiles.mapper import Profiles
from services.domain.profiles.units import conversion
from services.ingest.checked import Checked
from services.ingest.core import check
from services.ingest.registry import KnownDevice, Registry, kind_spec
from tests.codec_kit import golden, topic, written

OURS = load()
NOW = 1_800_000_000_000
DEVICE = DeviceId("s-1")


def meant(
    codec: str, kind: str, part: Any, profile: str | None = None, profiles: Profiles = OURS
) -> list[dict[str, Any]]:
    return [written(said) for said in profiles.apply(codec, kind, profile, DEVICE, part, NOW)]


def values(codec: str, kind: str, said: dict[str, Any], profile: str | None = None) -> dict[str, Any]:
    (part, *_) = OURS.apply(codec, kind, profile, DEVICE, Telemetry(DeviceId("a"), 5, said), NOW)
    assert isinstance(part, Telemetry), part
    return dict(part.values)


def case_parts(codec: str, name: str) -> list[Decoded]:
    case = next(case for case in golden() if (case.codec, case.name) == (codec, name))
    return decode(codec, case.topic, case.payload)


# What the documentation's examples mean


GOLDEN: list[tuple[str, str, str, list[dict[str, Any]]]] = [
    (
        "tasmota", "sensor_energy", "electricity_meter",
        [{"telemetry": {"energy_kwh": 1.956, "power": 9, "voltage": 231, "current": 0.089, "power_factor": 0.43},
          "device": "s-1", "ts": 1516186790000}],
    ),
    ("tasmota", "state", "lamp_post", [{"telemetry": {"on": True}, "device": "s-1", "ts": 1589069702000}]),
    ("tasmota", "state", "electricity_meter",
     [{"online": True, "device": "s-1", "ts": 1589069702000, "session": NO_SESSION}]),
    ("tasmota", "zone", "environment",
     [{"telemetry": {"temperature": 21.5, "humidity": 48.3}, "device": "s-1", "ts": 1795334400000}]),
    (
        "zigbee2mqtt", "smoke", "smoke_detector",
        [{"telemetry": {"battery": 100}, "device": "s-1", "ts": 1795334400123},
         {"event": "alarm", "data": {}, "device": "s-1", "ts": 1795334400123, "id": "s-1@1795334400123:alarm"}],
    ),
    (
        "zigbee2mqtt", "last_seen_epoch", "door_magnet",
        [{"telemetry": {"open": False}, "device": "s-1", "ts": 1763800000123},
         {"event": "closed", "data": {}, "device": "s-1", "ts": 1763800000123, "id": "s-1@1763800000123:closed"}],
    ),
    ("chirpstack", "status", "smoke_detector",
     [{"telemetry": {"battery": 75.6}, "device": "s-1", "ts": 1658136855775,
       "id": "dbd7c3b0-7a5e-4b0f-9a8f-5b5d6a3d2f10"}]),
    ("cjt188", "reading", "water_meter",
     [{"telemetry": {"total_m3": 556677.0, "valve": "closed"}, "device": "s-1", "ts": 1431352891000}]),
    ("dlt645", "several", "electricity_meter",
     [{"telemetry": {"energy_kwh": 123456.78, "voltage": 220.5, "current": 125.634, "power": -123.4,
                     "power_factor": 0.98}, "device": "s-1", "ts": NOW}]),
    ("gbt26875", "part_fire_alarm", "smoke_detector",
     [{"event": "alarm", "data": {"part": 40, "state": "0003", "note": "三层走廊"}, "device": "s-1",
       "ts": 1795309950000, "id": "s-1@1795309950000:alarm"}]),
    ("gbt26875", "analog_temperature", "smoke_detector",
     [{"telemetry": {"temperature": 23.5}, "device": "s-1", "ts": 1795309950000}]),
    ("senml_json", "collection", "environment",
     [{"telemetry": {"temperature": 25.2, "humidity": 30}, "device": "s-1", "ts": 1320078429000}]),
    ("huawei", "sub_device_status", "smoke_detector",
     [{"online": True, "device": "s-1", "ts": 1449922332000, "session": NO_SESSION}]),
]  # fmt: skip


@pytest.mark.parametrize(("codec", "name", "kind", "wanted"), GOLDEN, ids=lambda value: str(value)[:20])
def test_default_profile_knows_the_well_known_names(
    codec: str, name: str, kind: str, wanted: list[dict[str, Any]]
) -> None:
    part = case_parts(codec, name)[0]
    assert not isinstance(part, Rejected)
    assert meant(codec, kind, part) == wanted


def test_smoke_that_stays_is_the_same_event_only_for_the_same_report() -> None:
    report = Telemetry(DeviceId("a"), 1000, {"smoke": True})
    again = Telemetry(DeviceId("a"), 2000, {"smoke": True})
    first, second, third = (
        OURS.apply("zigbee2mqtt", "smoke_detector", None, DEVICE, part, NOW)[-1] for part in (report, report, again)
    )
    assert isinstance(first, DeviceEvent) and isinstance(third, DeviceEvent)
    assert first == second != third and first.message_id != third.message_id
    clear = Telemetry(DeviceId("a"), 1000, {"smoke": False})
    assert meant("zigbee2mqtt", "smoke_detector", clear) == [
        {"online": True, "device": "s-1", "ts": 1000, "session": NO_SESSION}
    ]


def test_event_carries_the_values_its_kind_names() -> None:
    parts = OURS.apply(
        "zigbee2mqtt", "gas_alarm", None, DEVICE, Telemetry(DeviceId("a"), 7, {"gas": True, "gas_value": 12}), NOW
    )
    assert [written(part) for part in parts] == [
        {"telemetry": {"lel": 12}, "device": "s-1", "ts": 7},
        {"event": "alarm", "data": {"lel": 12}, "device": "s-1", "ts": 7, "id": "s-1@7:alarm"},
    ]


def test_part_without_a_time_gets_that_of_its_arrival() -> None:
    for ts_ms, wanted in ((AT_ARRIVAL_MS, NOW), (AT_ARRIVAL_MS - 5000, NOW - 5000), (17, 17)):
        (part,) = meant("thingsboard", "environment", Telemetry(DeviceId("a"), ts_ms, {"temperature": 1}))
        assert part["ts"] == wanted
    (status,) = meant("tasmota", "lamp_post", StatusChange(DeviceId("a"), AT_ARRIVAL_MS, False, NO_SESSION))
    assert status == {"online": False, "device": "s-1", "ts": NOW, "session": NO_SESSION}


def test_units_sent_with_a_value_are_converted_or_refused() -> None:
    said = {"temperature [K]": 293.15, "humidity [%RH]": 40, "noise [V]": 3, "pm2_5 [mg/m3]": 0.012}
    assert values("senml_json", "environment", said) == {
        "temperature": 20, "humidity": 40, "noise": "3 V", "pm2_5": 12,
    }  # fmt: skip
    assert conversion("°F", "°C") == pytest.approx((5 / 9, -160 / 9))
    assert conversion("kW", "W") == (1000, 0) and conversion("kW", "kWh") is None


def test_names_of_the_kind_are_taken_as_they_are_where_no_profile_is() -> None:
    said = {"Smoke.battery": "88.5", "smoke": 0.2, "temperature": True, "rssi": -70}
    assert values("huawei", "smoke_detector", said) == {
        "battery": 88.5, "smoke": 0.2, "temperature": True, "rssi": -70,
    }  # fmt: skip


def test_a_name_that_only_looks_like_ours_is_not_ours_in_a_profile() -> None:
    """A vendor's `power` may be anything; what the profile does not list ends in the quarantine."""
    said = {"ENERGY.Power": 5, "power": 7}
    assert values("tasmota", "electricity_meter", said) == {"power": 5, "power (of profile tasmota_meter)": 7}


def test_options_invert_scale_and_words() -> None:
    assert values("aliyun", "water_meter", {"ValveState": 0, "WaterConsumption": "12340"}, "aliyun_water") == {
        "valve": "closed", "total_m3": 12.34,
    }  # fmt: skip
    assert values("zigbee2mqtt", "door_magnet", {"contact": False})["open"] is True
    assert values("zigbee2mqtt", "lamp_post", {"state": "ON", "brightness": 254})["brightness"] == pytest.approx(100)
    assert values("chirpstack", "door_magnet", {"DOOR_OPEN_STATUS": 1.0})["open"] is True
    assert values("tasmota", "lamp_post", {"POWER": "BLINK"})["on"] == "BLINK"


def test_vendor_event_is_translated_passed_on_or_ignored() -> None:
    def event(name: str) -> DeviceEvent:
        return DeviceEvent(DeviceId("a"), 9, name, {"level": 2})

    assert meant("aliyun", "smoke_detector", event("SmokeAlarm"), "aliyun_smoke")[0]["event"] == "alarm"
    assert meant("aliyun", "smoke_detector", event("Strange"), "aliyun_smoke")[0]["event"] == "Strange"
    assert meant("gbt26875", "smoke_detector", event("reset"))[0]["event"] == "reset"
    assert meant("gbt26875", "smoke_detector", event("normal"))[0] == {
        "online": True, "device": "s-1", "ts": 9, "session": NO_SESSION,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("codec", "kind", "profile", "why"),
    [
        ("tasmota", "electricity_meter", "nobody", "which does not exist"),
        ("tasmota", "water_meter", "tasmota_meter", "its profile tasmota_meter is for a electricity_meter"),
        ("chirpstack", "electricity_meter", "tasmota_meter", "speaks chirpstack"),
        ("tasmota", "spaceship", None, "not known to this version"),
    ],
)
def test_a_device_with_a_profile_that_does_not_fit_is_refused_by_name(
    codec: str, kind: str, profile: str | None, why: str
) -> None:
    (said,) = meant(codec, kind, Telemetry(DeviceId("a"), 5, {"a": 1}), profile)
    assert why in said["rejected"] and said["device"] == "s-1"


def test_answers_to_commands_go_through() -> None:
    (said,) = meant("native", "water_meter", Reply(DeviceId("a"), 5, "c", True), "aliyun_water")
    assert said["reply"] == "c"


# The core


def registry(codec: str, kind: str, profile: str | None = None) -> Registry:
    spec = kind_spec(KINDS[kind])
    community = topic().community
    device = KnownDevice(1, DeviceId("d1"), community, 0, spec, None, codec, "0x01", profile)  # type: ignore[arg-type]
    return Registry({device.id: device}, {community: 0}, {}, OURS)  # type: ignore[dict-item]


def test_core_stores_what_a_profile_means_and_quarantines_what_it_does_not_know() -> None:
    checked = Checked()
    part = Telemetry(DeviceId("0x01"), AT_ARRIVAL_MS, {"battery": 55, "smoke": True, "linkquality": 3, "new_thing": 1})
    check(checked, 0, NOW, topic(), part, registry("zigbee2mqtt", "smoke_detector"))
    (reading,), (alarm,), (bad,) = checked.readings, checked.happenings, checked.bad_values
    assert (reading.vals, reading.ts_ms) == ([None, None, 55.0], NOW)
    assert (alarm.event, alarm.ts_ms, alarm.message_id) == ("alarm", NOW, f"d1@{NOW}:alarm")
    assert bad.reason is Reason.UNKNOWN_METRIC and "'new_thing'" in bad.detail
    assert not checked.refusals


def test_core_answers_a_call_for_help_of_a_foreign_device_whose_clock_is_ahead() -> None:
    checked = Checked()
    part = Telemetry(DeviceId("d1"), NOW + 86_400_000, {"smoke": True})
    check(checked, 0, NOW, topic(), part, registry("zigbee2mqtt", "smoke_detector"))
    (alarm,) = checked.happenings
    assert (alarm.event, alarm.ts_ms) == ("alarm", NOW) and checked.clocks


# Wrong profiles


GOOD = "kind: water_meter\nfields:\n  a: {metric: total_m3, unit: L}\n"
WRONG: list[tuple[str, str, str]] = [
    ("kind: [1\n", ":2", "not YAML"),
    ("- a\n", "", "expected kind"),
    ("kind: spaceship\n", ":1", "no device kind 'spaceship'"),
    ("kind: water_meter\ncodec: morse\n", ":2", "no format 'morse'"),
    ("kind: water_meter\nname: x\n", ":2", "called like its file"),
    ("kind: water_meter\nkind: bin\n", ":2", "given twice"),
    ("kind: water_meter\nfield:\n  a: 1\n", ":2", "Extra inputs"),
    ("kind: water_meter\ndefault: true\n", ":1", "must name its codec"),
    ("kind: water_meter\nfields:\n  a: {metric: total}\n", ":3", "no metric 'total'; it has: total_m3, flow"),
    ("kind: water_meter\nfields:\n  a:\n    metric: flow\n    unit: kWh\n", ":3", "'kWh' cannot become 'm³/h'"),
    ("kind: water_meter\nfields:\n  a: {metric: flow, unit: barrel}\n", ":3", "'barrel' is not known"),
    ("kind: water_meter\nfields:\n  a: {metric: flow, unit: L/h, scale: 2}\n", ":3", "not both"),
    ("kind: water_meter\nfields:\n  a: {metric: flow, scale: 0}\n", ":3", "scale 0"),
    ("kind: water_meter\nfields:\n  a: {metric: flow, scale: ten}\n", ":3", "valid number"),
    ("kind: water_meter\nfields:\n  a: {metric: flow, scale: .inf}\n", ":3", "valid number"),
    ("kind: water_meter\nfields:\n  a: {metric: flow, invert: true}\n", ":3", "invert is for switches"),
    ("kind: water_meter\nfields:\n  a: {metric: valve, scale: 2}\n", ":3", "use options"),
    ("kind: water_meter\nfields:\n  a:\n    metric: valve\n    options:\n      x: ajar\n", ":6", "one of open, closed"),
    ("kind: water_meter\nevents:\n  a: {when: true, event: alarm}\n", ":3", "no event 'alarm'; it has: backflow"),
    ("kind: water_meter\nevents:\n  a: {when: true}\n", ":3", "Field required"),
    (GOOD + "ignore: [a]\n", ":4", "ignored and used"),
    ("kind: water_meter\nfields: " + "[" * 30 + "]" * 30, ":2", "nested too deep"),
    ("\x00", "", "not YAML"),
]


@pytest.mark.parametrize(("text", "line", "why"), WRONG, ids=range(len(WRONG)))
def test_a_wrong_profile_is_refused_by_file_line_and_field(tmp_path: Path, text: str, line: str, why: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as refused:
        read(path)
    assert f"{path}{line}" in str(refused.value) and why in str(refused.value)


def test_every_profile_that_comes_with_us_is_right_and_says_where_from() -> None:
    assert len(OURS.by_name) == len([*BUILT_IN.glob("*.yaml")]) >= 25
    for profile in OURS.by_name.values():
        assert profile.title and profile.source, profile.name
        assert profile.codec in CODECS


def test_a_community_takes_the_place_of_our_defaults(tmp_path: Path) -> None:
    (tmp_path / "own_meter.yaml").write_text(
        "kind: electricity_meter\ncodec: tasmota\ndefault: true\nfields:\n  E: {metric: energy_kwh, unit: Wh}\n"
    )
    mixed = load(tmp_path)
    part = Telemetry(DeviceId("a"), 5, {"E": 1500})
    assert meant("tasmota", "electricity_meter", part, profiles=mixed)[0]["telemetry"] == {"energy_kwh": 1.5}
    named = meant(
        "tasmota", "electricity_meter", Telemetry(DeviceId("a"), 5, {"ENERGY.Total": 2}), "tasmota_meter", mixed
    )
    assert named[0]["telemetry"] == {"energy_kwh": 2}


def test_two_defaults_for_one_kind_are_refused(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("kind: bin\ncodec: tasmota\ndefault: true\n")
    with pytest.raises(ProfileError, match="one and two are both the default"):
        load(tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="there is no folder"):
        load(tmp_path / "nowhere")
