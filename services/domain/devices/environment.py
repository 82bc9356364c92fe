"""Environment station (环境监测): the air people breathe and the noise they live in; public data."""

from __future__ import annotations

import random

from services.domain.devices import day
from services.domain.devices.kind import DeviceKind, Memory, Metric, Moment
from services.domain.vocabulary import Label

NAME = "environment"


def profile(memory: Memory, moment: Moment, rng: random.Random) -> dict[str, float]:
    """Dust in the rush hours, clean in the afternoon breeze, worse in winter; quiet at night."""
    warmth = moment.outdoor_c + moment.sun + day.wander(memory, "_warmth", rng, 0.4, 1800, moment.dt_s)
    # drier where it is warmer than the season
    damp = 70 - 6 * day.winter(moment) - 1.6 * (moment.outdoor_c - 17 + 12 * day.winter(moment)) - 8 * moment.sun
    damp += day.wander(memory, "_damp", rng, 5, 14400, moment.dt_s)
    rush = 14 * day.peak(moment.hour, 8, 1.5) + 12 * day.peak(moment.hour, 20, 2.5) - 10 * moment.sun
    fine = 40 + 14 * day.winter(moment) + rush + day.wander(memory, "_fine", rng, 12, 28800, moment.dt_s)
    fine = day.clamp(fine + day.wander(memory, "_puff", rng, 1.5, 300, moment.dt_s), 4.0, 120.0)
    coarse = fine * (1.5 + day.wander(memory, "_coarse", rng, 0.08, 7200, moment.dt_s))
    street = 13 * day.peak(moment.hour, 8, 2) + 14 * day.peak(moment.hour, 18.5, 3) + 8 * day.peak(moment.hour, 13, 3)
    noise = 41 + min(17.0, street) + day.wander(memory, "_noise", rng, 1.8, 120, moment.dt_s)
    return day.finish(
        moment,
        {
            "temperature": round(warmth, 1),
            "humidity": round(day.clamp(damp, 15.0, 99.0), 1),
            "pm2_5": round(fine, 1),
            "pm10": round(coarse, 1),
            "noise": round(noise, 1),
        },
    )


KIND = DeviceKind(
    name=NAME,
    label=Label("环境监测站", "Environment station"),
    system="S15",
    interval_s=60,
    metrics=(
        Metric("temperature", "°C", Label("温度", "Temperature"), -60, 70),
        Metric("humidity", "%RH", Label("湿度", "Humidity"), 0, 100),
        Metric("pm2_5", "µg/m³", Label("PM2.5", "PM2.5"), 0, 1000),
        # a sandstorm passes 5,000
        Metric("pm10", "µg/m³", Label("PM10", "PM10"), 0, 10000),
        Metric("noise", "dB", Label("噪声", "Noise"), 0, 150),
    ),
    events=(),
    commands=(),
    profile=profile,
)
