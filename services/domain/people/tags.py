"""Tags of people (人口标签): a closed list with words in both languages, grouped as a community keeps its books.

Some say something of somebody's health or hardship; those are for whoever looks after people, and are masked elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.domain.vocabulary import Label


@dataclass(frozen=True, slots=True)
class Tag:
    """`sensitive`: of health, religion, past or need (PIPL, article 28)."""

    name: str
    label: Label
    group: str
    sensitive: bool = False


GROUPS: dict[str, Label] = {
    "age": Label("年龄", "Age"),
    "household": Label("户籍居住", "Residence"),
    "care": Label("关怀照护", "Care"),
    "hardship": Label("困难帮扶", "Hardship"),
    "work": Label("就业职业", "Work"),
    "civic": Label("党群志愿", "Civic life"),
    "service": Label("服务优待", "Entitlements"),
    "living": Label("生活", "Living"),
}


def _tag(group: str, name: str, zh: str, en: str, sensitive: bool = False) -> Tag:
    return Tag(name, Label(zh, en), group, sensitive)


TAGS: tuple[Tag, ...] = (
    _tag("age", "infant", "婴幼儿（0–3 岁）", "Infant (0–3)"),
    _tag("age", "child", "儿童", "Child"),
    _tag("age", "student", "学生", "Student"),
    _tag("age", "young_adult", "青年", "Young adult"),
    _tag("age", "elder", "老年人（60 岁以上）", "Elder (60 and over)"),
    _tag("age", "over_70", "70 岁以上", "70 and over"),
    _tag("age", "over_80", "80 岁以上", "80 and over"),
    _tag("age", "over_90", "90 岁以上", "90 and over"),
    _tag("household", "registered_here", "户籍人口", "Registered here"),
    _tag("household", "registered_elsewhere", "流动人口", "Registered elsewhere"),
    _tag("household", "owner", "业主", "Owner"),
    _tag("household", "tenant", "租户", "Tenant"),
    _tag("household", "away_from_registration", "人户分离", "Lives apart from registration"),
    _tag("household", "foreign_national", "境外人员", "Foreign national"),
    _tag("household", "newcomer", "新入住", "Newcomer"),
    _tag("household", "ethnic_minority", "少数民族", "Ethnic minority", True),
    _tag("care", "elder_living_alone", "独居老人", "Elder living alone"),
    _tag("care", "empty_nest", "空巢老人", "Empty nest"),
    _tag("care", "disabled", "残疾人", "Disabled", True),
    _tag("care", "dementia", "失智老人", "Dementia", True),
    _tag("care", "bedridden", "失能卧床", "Bedridden", True),
    _tag("care", "chronic_illness", "慢性病", "Chronic illness", True),
    _tag("care", "mental_illness", "精神障碍", "Mental illness", True),
    _tag("care", "hearing_impaired", "听力障碍", "Hearing impaired", True),
    _tag("care", "sight_impaired", "视力障碍", "Sight impaired", True),
    _tag("care", "pregnant", "孕产妇", "Pregnant", True),
    _tag("care", "needs_meals", "助餐", "Meals brought"),
    _tag("care", "needs_visits", "探访关怀", "Visited regularly"),
    _tag("care", "needs_bathing", "助浴", "Help with bathing"),
    _tag("care", "left_behind_child", "留守儿童", "Child left behind"),
    _tag("hardship", "low_income", "低保", "Minimum allowance", True),
    _tag("hardship", "near_poor", "低收入边缘", "Near the minimum", True),
    _tag("hardship", "destitute", "特困供养", "Destitute", True),
    _tag("hardship", "bereaved_family", "失独家庭", "Lost an only child", True),
    _tag("hardship", "single_parent", "单亲家庭", "Single parent", True),
    _tag("hardship", "orphan", "孤儿", "Orphan", True),
    _tag("hardship", "released", "刑满释放", "Released from prison", True),
    _tag("hardship", "community_correction", "社区矫正", "Community correction", True),
    _tag("work", "retired_worker", "退休职工", "Retired"),
    _tag("work", "unemployed", "失业", "Unemployed"),
    _tag("work", "job_seeker", "求职", "Looking for work"),
    _tag("work", "self_employed", "个体经营", "Self-employed"),
    _tag("work", "flexible_work", "灵活就业", "Flexible work"),
    _tag("work", "courier", "快递外卖骑手", "Courier"),
    _tag("work", "civil_servant", "机关事业人员", "Civil servant"),
    _tag("work", "teacher", "教师", "Teacher"),
    _tag("work", "medical_worker", "医护人员", "Medical worker"),
    _tag("civic", "party_member", "党员", "Party member"),
    _tag("civic", "volunteer", "志愿者", "Volunteer"),
    _tag("civic", "building_head", "楼栋长", "Building head"),
    _tag("civic", "residents_representative", "居民代表", "Residents' representative"),
    _tag("civic", "owners_committee", "业委会成员", "Owners' committee"),
    _tag("service", "veteran", "退役军人", "Veteran"),
    _tag("service", "military_family", "军属", "Military family"),
    _tag("service", "martyr_family", "烈属", "Martyr's family"),
    _tag("service", "long_term_care_insured", "长护险", "Long-term care insured"),
    _tag("service", "senior_card", "老年优待证", "Senior card"),
    _tag("living", "pet_owner", "养宠户", "Pet owner"),
    _tag("living", "ebike_owner", "电动车户", "E-bike owner"),
    _tag("living", "car_owner", "有车户", "Car owner"),
)
BY_NAME: dict[str, Tag] = {tag.name: tag for tag in TAGS}
BY_WORDS: dict[str, str] = {words: tag.name for tag in TAGS for words in (tag.name, tag.label.zh, tag.label.en.lower())}
"""What a sheet may call a tag: its name, or its words in either language."""
SENSITIVE: frozenset[str] = frozenset(tag.name for tag in TAGS if tag.sensitive)
