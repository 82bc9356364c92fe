"""Fills flats with people: names, ages, tags, and the elders who live alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

from services.domain.ids import PersonId
from services.domain.registry import ELDER_LIVING_ALONE, Household, Person

YEAR = 2026
"""Ages are counted from here, so that the same seed gives the same people in any year."""
ELDER_FROM = 60
_SURNAMES = "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董潘袁蔡蒋余于杜叶程魏苏吕丁任沈"
_GIVEN_OLD = ("秀英", "桂兰", "淑珍", "玉兰", "秀兰", "建国", "国强", "德明", "志华", "文斌", "凤英", "金花", "福生")
_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超霞平刚梅鑫波辉玲宇浩凯健俊帆雪倩婷晨琳峰"
_GIVEN_YOUNG = "梓涵欣怡子轩雨桐浩然诗琪宇航思远一诺语嫣嘉懿沐宸若溪奕辰"
_ADULT_TAGS = (
    ("party_member", 0.09),
    ("volunteer", 0.08),
    ("veteran", 0.03),
    ("tenant", 0.18),
    ("pet_owner", 0.12),
    ("ebike_owner", 0.3),
    ("car_owner", 0.35),
    ("low_income", 0.02),
    ("disabled", 0.015),
    ("self_employed", 0.07),
    ("civil_servant", 0.04),
    ("teacher", 0.03),
    ("medical_worker", 0.02),
)
_ANYBODYS = (
    ("away_from_registration", 0.04),
    ("foreign_national", 0.003),
    ("newcomer", 0.03),
    ("ethnic_minority", 0.04),
    ("mental_illness", 0.004),
    ("hearing_impaired", 0.006),
    ("sight_impaired", 0.006),
    ("near_poor", 0.01),
    ("destitute", 0.003),
    ("military_family", 0.01),
    ("martyr_family", 0.003),
)
_CHILDREN = (("left_behind_child", 0.02), ("single_parent", 0.04), ("orphan", 0.004))
_GROWN_UP = (
    ("pregnant", 0.012),
    ("released", 0.004),
    ("community_correction", 0.003),
    ("unemployed", 0.03),
    ("job_seeker", 0.03),
    ("flexible_work", 0.06),
    ("courier", 0.02),
    ("building_head", 0.01),
    ("residents_representative", 0.01),
    ("owners_committee", 0.006),
    ("single_parent", 0.02),
    ("bereaved_family", 0.003),
)
_OLD = (
    ("empty_nest", 0.2),
    ("bedridden", 0.02),
    ("chronic_illness", 0.4),
    ("needs_bathing", 0.03),
    ("long_term_care_insured", 0.25),
    ("senior_card", 0.7),
    ("bereaved_family", 0.01),
    ("building_head", 0.03),
)
_ELDER_TAGS = (("needs_meals", 0.12), ("needs_visits", 0.1), ("retired_worker", 0.6), ("over_80", 0.0))


def populate(
    households: Sequence[Household], residents: int, elders_share: float, elders_alone: int, rng: random.Random
) -> tuple[Person, ...]:
    """Exactly `residents` people (at least one a household); the first shuffled `elders_alone` flats hold one elder."""
    order = list(range(len(households)))
    rng.shuffle(order)
    alone = set(order[:elders_alone])
    sizes = [1] * len(households)
    others = [i for i in order if i not in alone]
    left = max(0, residents - len(households))
    while left and others:
        for index in others:
            if left and sizes[index] < 6 and rng.random() < 0.6:
                sizes[index] += 1
                left -= 1
        if all(sizes[index] >= 6 for index in others):
            break
    slots = [(index, nth) for index in range(len(households)) if index not in alone for nth in range(sizes[index])]
    wanted = min(len(slots), max(0, round(residents * elders_share) - len(alone)))
    elders = set(rng.sample(slots, wanted))
    people: list[Person] = []
    for index, home in enumerate(households):
        if index in alone:
            people.append(_person(home, len(people), rng.randint(68, 92), rng, {ELDER_LIVING_ALONE}))
            continue
        for nth in range(sizes[index]):
            age = rng.randint(60, 90) if (index, nth) in elders else _age(nth, rng)
            people.append(_person(home, len(people), age, rng, set()))
    return tuple(people)


def _age(nth: int, rng: random.Random) -> int:
    """The first two of a household are grown up; after them come children, then relatives."""
    if nth < 2:
        return rng.randint(24, 58)
    return rng.randint(1, 19) if rng.random() < 0.75 else rng.randint(20, 59)


def _person(home: Household, number: int, age: int, rng: random.Random, tags: set[str]) -> Person:
    community = home.id.rsplit("-", 1)[0]
    if age >= ELDER_FROM:
        tags |= {"elder"} | {tag for tag, share in _ELDER_TAGS if rng.random() < share}
        if age >= 80:
            tags.add("over_80")
        given = rng.choice(_GIVEN_OLD)
    elif age < 18:
        tags |= {"child"} if age < 6 else {"child", "student"}
        start = rng.randrange(0, len(_GIVEN_YOUNG) - 1, 2)
        given = _GIVEN_YOUNG[start : start + 2]
    else:
        tags |= {tag for tag, share in _ADULT_TAGS if rng.random() < share}
        given = "".join(rng.sample(_GIVEN, rng.choice((1, 2, 2))))
    id = PersonId(f"{community}-p{number + 1}")
    name = rng.choice(_SURNAMES) + given
    return Person(id, home.id, name, YEAR - age, frozenset(tags | _more_tags(id, age, tags)))


def _more_tags(id: PersonId, age: int, tags: set[str]) -> set[str]:
    """The rest of the books. By a chance of their own, so that everything else of a community stays as it was."""
    rng = random.Random(f"tags|{id}")
    more = {tag for tag, share in _ANYBODYS if rng.random() < share}
    more.add("registered_elsewhere" if "tenant" in tags and rng.random() < 0.6 else "registered_here")
    more |= set() if "tenant" in tags or age < 18 else {"owner"}
    if age <= 3:
        more.add("infant")
    elif age < 18:
        more |= {tag for tag, share in _CHILDREN if rng.random() < share}
    elif age < ELDER_FROM:
        more |= {tag for tag, share in _GROWN_UP if rng.random() < share}
        more |= {"young_adult"} if age <= 35 else set()
    else:
        more |= {tag for tag, share in _OLD if rng.random() < share}
        more |= {f"over_{decade}" for decade in (70, 90) if age >= decade}
    return more
