"""The people who log in to a demo community: its teams with their leaders and skills, and one of each other role."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.presets.preset import Preset
from services.domain.registry import Account, Person, Place
from services.domain.vocabulary import Role, Team

RELIEF = 3
"""People of a team that is on duty around the clock who take turns in early, late and night shift."""
_NAMES = "一二三四五六七八九"


def accounts(preset: Preset, grids: Sequence[Place], people: Sequence[Person]) -> tuple[Account, ...]:
    """The first of each team (patrol1, desk, grid1 …) is always on duty; the others stand shifts (`rosters`)."""
    resident = next(person for person in people if "elder" not in person.tags and "child" not in person.tags)
    return (
        Account("admin", "系统管理员", Role.ADMIN),
        Account("desk", f"{preset.name}值班", Role.DESK, Team.DESK),
        Account("desk2", f"{preset.name}值班长 何静", Role.DESK, Team.DESK, leads=True),
        *(
            Account(f"desk{n}", f"{preset.name}值班员 {name}", Role.DESK, Team.DESK)
            for n, name in ((3, "吕涛"), (4, "施雯"))
        ),
        *(
            Account(
                f"grid{n}", f"{grid.name}网格员", Role.GRID, Team.GRID, grid_id=grid.id, skills=_skills("first_aid")
            )
            for n, grid in enumerate(grids, start=1)
        ),
        *(
            Account(
                f"grid{len(grids) + n}",
                f"机动网格员{_NAMES[n - 1]}",
                Role.GRID,
                Team.GRID,
                grid_id=grids[(n - 1) % len(grids)].id,
                leads=n == 1,
            )
            for n in range(1, RELIEF + 1)
        ),
        _staff("patrol1", "防控巡查 赵刚", Team.PATROL, "gas", "fire", "first_aid", "water_rescue"),
        _staff("patrol2", "防控巡查队长 钱勇", Team.PATROL, "gas", "fire", leads=True),
        _staff("patrol3", "防控巡查 冯杰", Team.PATROL, "first_aid", "vehicles"),
        _staff("patrol4", "防控巡查 陈浩", Team.PATROL, "fire", "water_rescue"),
        _staff("maintenance1", "养护维修 孙强", Team.MAINTENANCE, "electric", "plumbing", "network"),
        _staff("maintenance2", "养护维修队长 褚亮", Team.MAINTENANCE, "electric", "gas", "lift", leads=True),
        _staff("cleaning1", "保洁 周敏", Team.CLEANING),
        _staff("cleaning2", "保洁领班 卫芳", Team.CLEANING, leads=True),
        _staff("environment1", "环境治理 吴磊", Team.ENVIRONMENT, "greening"),
        _staff("environment2", "环境治理队长 蒋宁", Team.ENVIRONMENT, leads=True),
        _staff("general1", "综合服务 郑洁", Team.GENERAL),
        _staff("general2", "综合服务主管 沈岚", Team.GENERAL, leads=True),
        Account("street", preset.street, Role.STREET, Team.STREET),
        Account("street2", f"{preset.street}值班", Role.STREET, Team.STREET),
        Account("department1", "区城市运行管理部门", Role.STREET, Team.DEPARTMENT),
        Account("resident1", resident.name, Role.RESIDENT, household_id=resident.household_id),
        Account("merchant1", "便民超市", Role.MERCHANT),
        Account("visitor1", "访客", Role.VISITOR),
        Account("platform", "城市运行管理服务平台", Role.PLATFORM),
    )


def _staff(username: str, name: str, team: Team, *skills: str, leads: bool = False) -> Account:
    return Account(username, name, Role.STAFF, team, leads=leads, skills=_skills(*skills))


def _skills(*names: str) -> frozenset[str]:
    return frozenset(names)
