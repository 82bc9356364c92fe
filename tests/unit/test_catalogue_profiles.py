"""Simulated devices live believable days, and a healthy one alarms nobody."""

from __future__ import annotations

import itertools
import math
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest

from services.adapters.rules import load_defaults
from services.domain.devices import BY_NAME, CATALOGUE
from services.domain.devices.kind import DeviceKind, Memory, MetricType, Moment
from services.domain.registry import ELDER_LIVING_ALONE, FIRE_LANE
from services.domain.rules.parameters import (
    AbsenceParameters,
    Compare,
    ConsumptionParameters,
    NOfMParameters,
    RateParameters,
    ThresholdParameters,
)

DAY_S = 86400
WINTER, SUMMER = 20, 200
ELDER = frozenset({ELDER_LIVING_ALONE})
Reading = dict[str, float]


def moment_at(second: int, dt_s: float, first_day: int, elder: bool, sky: float) -> Moment:
    """A day at 30° north: sun from six to six (five to seven in summer), workers away from eight to six."""
    day, hour = second // DAY_S, second % DAY_S / 3600
    summer = first_day == SUMMER
    rise, set_ = (5.1, 19.1) if summer else (6.9, 17.4)
    height = math.sin((hour - rise) / (set_ - rise) * math.pi) * (1.0 if summer else 0.6) if rise < hour < set_ else 0.0
    at_work = 8 <= hour < 18 and day % 7 < 5
    out_walking = 9 <= hour < 10.5
    return Moment(
        ts_ms=second * 1000,
        dt_s=dt_s,
        hour=hour,
        day_of_year=first_day + day,
        weekend=day % 7 >= 5,
        sun=height * sky,
        outdoor_c=(33 if summer else 2) + 5 * math.sin((hour - 9) / 24 * math.tau),
        home=(0.0 if out_walking else 1.0) if elder else (0.1 if at_work else 0.95),
        residents=1 if elder else 3,
        tags=ELDER if elder else frozenset(),
        latitude=29.7,
        longitude=116.0,
    )


@dataclass
class Life:
    """What one device reported: (second, reading), and the sky it lived under."""

    kind: DeviceKind
    sky: float
    readings: list[tuple[int, Reading]] = field(default_factory=list)

    def column(self, metric: str) -> list[tuple[int, float]]:
        return [(second, reading[metric]) for second, reading in self.readings]


def live(
    kind: DeviceKind,
    seed: int,
    first_day: int,
    *,
    days: int = 3,
    elder: bool = False,
    step_s: int | None = None,
    scale: float = 1.0,
) -> Life:
    rng, memory = random.Random(seed), Memory()
    step = step_s or kind.interval_s
    life = Life(kind, sky=(1.0, 0.6, 0.3)[seed % 3])
    for second in range(0, days * DAY_S + 1, step):
        moment = replace(moment_at(second, step if second else 0.0, first_day, elder, life.sky), scale=scale)
        life.readings.append((second, kind.profile(memory, moment, rng)))
    return life


def meets(compare: Compare, value: float, limit: float) -> bool:
    return value >= limit if compare is Compare.AT_LEAST else value <= limit


def threshold_fires(life: Life, first_day: int, rule: ThresholdParameters) -> bool:
    """Asked every minute, the last reading standing until the next one."""
    since: int | None = None
    column = iter(life.column(rule.metric))
    upcoming = next(column, None)
    value = math.nan
    for second in range(0, life.readings[-1][0] + 1, 60):
        while upcoming and upcoming[0] <= second:
            value, upcoming = upcoming[1], next(column, None)
        daylight = moment_at(second, 0, first_day, False, 1.0).sun > 0
        if meets(rule.compare, value, rule.limit) and rule.daylight in (None, daylight):
            since = second if since is None else since
            if second - since >= rule.for_s:
                return True
        else:
            since = None
    return False


def rate_fires(life: Life, rule: RateParameters) -> bool:
    column = life.column(rule.metric)
    return any(
        meets(rule.compare, now[1] - before[1], rule.limit)
        for place, now in enumerate(column)
        for before in itertools.takewhile(lambda one: now[0] - one[0] <= rule.within_s, reversed(column[:place]))  # noqa: B023
    )


def n_of_m_fires(life: Life, rule: NOfMParameters) -> bool:
    recent: deque[bool] = deque(maxlen=rule.m)
    for _, value in life.column(rule.metric):
        beyond = rule.and_compare is not None and not meets(rule.and_compare, value, rule.and_limit or 0)
        recent.append(meets(rule.compare, value, rule.limit) and not beyond)
        if sum(recent) >= rule.n:
            return True
    return False


def consumption_fires(life: Life, rule: ConsumptionParameters) -> bool:
    column = life.column(rule.metric)
    slice_s = rule.every_s or rule.window_s
    behind = round(slice_s / life.kind.interval_s)
    met = [meets(rule.compare, after[1] - before[1], rule.limit) for before, after in zip(column, column[behind:])]  # noqa: B905
    slices = round(rule.window_s / slice_s)
    return any(all(met[end - (n * behind)] for n in range(slices)) for end in range((slices - 1) * behind, len(met)))


def absence_fires(life: Life, rule: AbsenceParameters) -> bool:
    metric = next(metric for metric in life.kind.metrics if metric.on_change and rule.event in metric.on_change)
    assert metric.on_change
    column = life.column(metric.name)
    to = float(metric.on_change.index(rule.event))
    changes = {after[0] for before, after in itertools.pairwise(column) if before[1] != to == after[1]}
    return any(
        not any(rule.from_hour <= (second - day * DAY_S) / 3600 < rule.to_hour for second in changes)
        for day in range(life.readings[-1][0] // DAY_S)
    )


def false_alarms(life: Life, first_day: int, elder: bool) -> Iterator[str]:
    for rule in load_defaults()[life.kind.name]:
        if (rule.scope.person_tags and not elder) or rule.scope.device_tags:
            continue
        match rule.parameters:
            case ThresholdParameters() as parameters:
                fires = threshold_fires(life, first_day, parameters)
            case RateParameters() as parameters:
                fires = rate_fires(life, parameters)
            case NOfMParameters() as parameters:
                fires = n_of_m_fires(life, parameters)
            case ConsumptionParameters() as parameters:
                fires = consumption_fires(life, parameters)
            case AbsenceParameters() as parameters:
                fires = absence_fires(life, parameters)
            case _:
                fires = False
        if fires:
            yield rule.id


MINUTELY = {"door_magnet": 60}
"""Asked more often than it reports by itself: it speaks when the door moves."""
SEASONS = pytest.mark.parametrize("first_day", [WINTER, SUMMER], ids=["winter", "summer"])
MEASURING = [kind for kind in CATALOGUE if kind.metrics and kind.interval_s >= 60]
OF_ELDERS = [BY_NAME[name] for name in ("water_meter", "gas_meter", "electricity_meter", "door_magnet", "wristband")]


@SEASONS
@pytest.mark.parametrize("kind", MEASURING, ids=lambda kind: kind.name)
def test_profile_healthy_days_alarm_nobody(kind: DeviceKind, first_day: int) -> None:
    for seed in range(3):
        life = live(kind, seed, first_day, step_s=MINUTELY.get(kind.name))
        assert list(false_alarms(life, first_day, elder=False)) == [], f"seed {seed}"
        check_plausible(life)


@SEASONS
@pytest.mark.parametrize("kind", OF_ELDERS, ids=lambda kind: kind.name)
def test_profile_healthy_elders_alarm_nobody(kind: DeviceKind, first_day: int) -> None:
    for seed in range(6):
        life = live(kind, seed, first_day, days=4, elder=True, step_s=MINUTELY.get(kind.name))
        assert list(false_alarms(life, first_day, elder=True)) == [], f"seed {seed}"
        check_plausible(life)


@SEASONS
@pytest.mark.parametrize("scale", [0.3, 4, 30])
@pytest.mark.parametrize("name", ["electricity_meter", "gas_meter", "pv_inverter", "bin", "people_counter"])
def test_profile_larger_things_alarm_nobody(name: str, scale: float, first_day: int) -> None:
    life = live(BY_NAME[name], 1, first_day, scale=scale)
    assert list(false_alarms(life, first_day, elder=False)) == []
    check_plausible(life)


def check_plausible(life: Life) -> None:
    """Every metric, in range; counters never fall; switches and states are whole numbers."""
    for metric in life.kind.metrics:
        values = [value for _, value in life.column(metric.name)]
        assert metric.low <= min(values) and max(values) <= metric.high, metric.name
        if metric.type is MetricType.COUNTER:
            assert all(after >= before for before, after in itertools.pairwise(values)), metric.name
            assert values[-1] > values[0], f"{metric.name} stands still"
        if metric.type in (MetricType.SWITCH, MetricType.STATE):
            assert all(value == int(value) for value in values), metric.name
    assert set(life.readings[-1][1]) == {metric.name for metric in life.kind.metrics}


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name)
def test_profile_repeats_itself_from_its_seed(kind: DeviceKind) -> None:
    step = max(300, kind.interval_s)
    first, again, other = (live(kind, seed, WINTER, days=1, step_s=step).readings for seed in (7, 7, 8))
    assert first == again
    assert not kind.metrics or kind.name == "gate" or first != other


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name)
def test_profile_yields_to_what_is_forced(kind: DeviceKind) -> None:
    rng, memory = random.Random(1), Memory()
    forced = {metric.name: float(round(metric.low + 0.75 * (metric.high - metric.low))) for metric in kind.metrics}
    moment = replace(moment_at(DAY_S // 2, 60, SUMMER, False, 1.0), forced=forced)
    for _ in range(3):
        assert kind.profile(memory, moment, rng) == forced


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name)
def test_profile_holds_for_any_step(kind: DeviceKind) -> None:
    for step in (1, 20_000):
        rng, memory = random.Random(2), Memory()
        for n in range(40):
            moment = moment_at(7 * 3600 + n * step, step if n else 0.0, SUMMER, False, 1.0)
            for name, value in kind.profile(memory, moment, rng).items():
                metric = kind.metrics[kind.position(name) or 0]
                assert metric.low <= value <= metric.high, (step, name, value)


@pytest.mark.parametrize("name", ["electricity_meter", "pv_inverter", "charger"])
def test_profile_power_adds_up_to_energy(name: str) -> None:
    life = live(BY_NAME[name], 3, SUMMER)
    power, energy = life.column("power"), life.column("energy_kwh")
    counted = sum(watts for _, watts in power[1:]) * life.kind.interval_s / 3.6e6
    assert energy[-1][1] - energy[0][1] == pytest.approx(counted, abs=2e-4)
    assert counted > 5


@pytest.mark.parametrize("name", ["water_meter", "gas_meter"])
def test_profile_flow_adds_up_to_volume(name: str) -> None:
    life = live(BY_NAME[name], 3, WINTER)
    flow, total = life.column("flow"), life.column("total_m3")
    counted = sum(m3_h for _, m3_h in flow[1:]) * life.kind.interval_s / 3600
    assert total[-1][1] - total[0][1] == pytest.approx(counted, abs=0.02)


def test_profile_forced_power_moves_the_energy_counter() -> None:
    kind, rng, memory = BY_NAME["electricity_meter"], random.Random(1), Memory()
    moment = moment_at(3600, 3600, WINTER, False, 1.0)
    before = kind.profile(memory, replace(moment, dt_s=0.0), rng)["energy_kwh"]
    after = kind.profile(memory, replace(moment, forced={"power": 2500.0}), rng)["energy_kwh"]
    assert after - before == pytest.approx(2.5, abs=1e-3)


def test_profile_counter_goes_on_from_a_forced_total() -> None:
    kind, rng, memory = BY_NAME["water_meter"], random.Random(1), Memory()
    moment = moment_at(7 * 3600, 900, WINTER, False, 1.0)
    kind.profile(memory, replace(moment, forced={"total_m3": 5000.0}), rng)
    assert kind.profile(memory, moment, rng)["total_m3"] >= 5000


def test_profile_closed_valve_stops_the_water() -> None:
    kind, rng, memory = BY_NAME["water_meter"], random.Random(1), Memory()
    readings = [
        kind.profile(memory, replace(moment_at(at, 900, WINTER, False, 1.0), forced={"valve": 1.0}), rng)
        for at in range(0, DAY_S, 900)
    ]
    assert {reading["flow"] for reading in readings} == {0.0}
    assert len({reading["total_m3"] for reading in readings}) == 1


def used_between(life: Life, metric: str, start: float, end: float) -> float:
    values = [
        value for second, value in life.column(metric) if start <= second % DAY_S / 3600 <= end and second < DAY_S
    ]
    return values[-1] - values[0]


def test_profile_water_is_used_by_waking_people() -> None:
    lives = [live(BY_NAME["water_meter"], seed, WINTER, days=1) for seed in range(20)]

    def litres(start: float, end: float) -> float:
        return sum(used_between(life, "total_m3", start, end) for life in lives) / len(lives) * 1000

    assert litres(6, 8) > 60
    assert litres(1, 5) < 10
    assert 250 < litres(0, 24) < 550  # three people at 100 to 180 litres


def test_profile_elders_rise_before_others() -> None:
    def before_six(elder: bool) -> float:
        lives = [live(BY_NAME["water_meter"], seed, WINTER, days=1, elder=elder) for seed in range(20)]
        whole = sum(used_between(life, "total_m3", 0, 24) for life in lives)
        return sum(used_between(life, "total_m3", 0, 6.3) for life in lives) / whole

    assert before_six(elder=True) > 1.5 * before_six(elder=False)


def test_profile_pv_follows_the_sun() -> None:
    life = live(BY_NAME["pv_inverter"], 3, SUMMER, days=1)
    for second, power in life.column("power"):
        assert (power > 0) == (moment_at(second, 60, SUMMER, False, 1.0).sun > 0)
    noon, early = dict(life.column("power"))[12 * 3600], dict(life.column("power"))[6 * 3600]
    assert noon > 4 * early


def test_profile_wristband_rests_at_night() -> None:
    life = live(BY_NAME["wristband"], 4, WINTER, days=2, elder=True)
    assert used_between(life, "steps", 0, 4.5) == 0
    assert 1500 < used_between(life, "steps", 6, 20) < 9000
    heart = life.column("heart_rate")
    asleep = [value for second, value in heart if second % DAY_S < 4 * 3600]
    walking = [value for second, value in heart if 8 <= second % DAY_S / 3600 < 10]
    assert sum(asleep) / len(asleep) + 8 < sum(walking) / len(walking)


def test_profile_bins_fill_and_are_emptied_in_the_morning() -> None:
    fill = live(BY_NAME["bin"], 5, SUMMER, days=4).column("fill")
    drops = [after[0] % DAY_S / 3600 for before, after in itertools.pairwise(fill) if after[1] < before[1] - 5]
    assert len(drops) >= 3
    assert all(5.5 <= hour < 7 for hour in drops)
    assert max(value for _, value in fill) > 35


def test_profile_lamps_burn_by_night_only() -> None:
    life = live(BY_NAME["lamp_post"], 3, WINTER, days=1)
    on = {second / 3600: value for second, value in life.column("on")}
    assert on[0] == on[5] == on[20] == 1
    assert on[9] == on[12] == on[16] == 0
    power = dict(life.column("power"))
    assert power[20 * 3600] > 1.5 * power[2 * 3600] > 20 > power[12 * 3600]


def test_profile_parking_is_fuller_at_night() -> None:
    kind = BY_NAME["parking_sensor"]
    lives = [dict(live(kind, seed, WINTER, days=2).column("occupied")) for seed in range(80)]
    by_night = sum(life[DAY_S + 4 * 3600] for life in lives) / len(lives)
    by_day = sum(life[DAY_S + 14 * 3600] for life in lives) / len(lives)
    assert by_night > 0.75 > 0.65 > by_day > 0.25


def test_profile_fire_lane_stays_free() -> None:
    kind, rng, memory = BY_NAME["parking_sensor"], random.Random(1), Memory()
    for at in range(0, DAY_S, 600):
        moment = replace(moment_at(at, 600, WINTER, False, 1.0), tags=frozenset({FIRE_LANE}))
        assert kind.profile(memory, moment, rng)["occupied"] == 0


def test_profile_charger_sessions_start_and_end() -> None:
    life = live(BY_NAME["charger"], 1, WINTER, days=7, step_s=300)
    states = [value for _, value in life.column("state")]
    assert {0.0, 1.0, 2.0} <= set(states)
    for _, reading in life.readings:
        assert (reading["power"] > 0) == (reading["state"] == 1.0) or reading["power"] == 0
    assert 6000 < max(value for _, value in life.column("power")) < 7000


def test_profile_vehicle_stays_on_its_round() -> None:
    kind = BY_NAME["patrol_vehicle"]
    rng, memory = random.Random(3), Memory()
    places = []
    for second in range(8 * 3600, 8 * 3600 + 1800, 5):
        reading = kind.profile(memory, moment_at(second, 5, SUMMER, False, 1.0), rng)
        north, east = (reading["latitude"] - 29.7) * 111_320, (reading["longitude"] - 116.0) * 111_320 * 0.8686
        assert abs(north) < 115 and abs(east) < 165
        assert 3 < reading["speed"] < 20
        places.append((north, east))
    hops = [math.dist(before, after) for before, after in itertools.pairwise(places)]
    assert max(hops) < 20 / 3.6 * 5 + 1
    assert sum(hops) > 2000
    resting = kind.profile(memory, moment_at(3 * 3600, 5, SUMMER, False, 1.0), rng)
    assert resting["speed"] == 0


def test_profile_people_come_and_all_go_home() -> None:
    life = live(BY_NAME["people_counter"], 2, SUMMER, days=2)
    for _, reading in life.readings:
        assert reading["inside"] == reading["in"] - reading["out"] >= 0
    inside = dict(life.column("inside"))
    assert inside[20 * 3600] > 5
    assert inside[23 * 3600] == inside[4 * 3600] == 0
