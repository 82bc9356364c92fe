"""The people who log in to a demo community: at least one account of each role."""

from __future__ import annotations

from collections.abc import Sequence

from device_sim.presets.preset import Preset
from services.domain.registry import Account, Person, Place
from services.domain.vocabulary import Role, Team


def accounts(preset: Preset, grids: Sequence[Place], people: Sequence[Person]) -> tuple[Account, ...]:
    """Staff of each team, a 网格员 for each 网格, the desk, the street, one account of every other role."""
    resident = next(person for person in people if "elder" not in person.tags and "child" not in person.tags)
    return (
        Account("admin", "系统管理员", Role.ADMIN),
        Account("desk", f"{preset.name}值班", Role.DESK, Team.DESK),
        *(
            Account(f"grid{n}", f"{grid.name}网格员", Role.GRID, Team.GRID, grid_id=grid.id)
            for n, grid in enumerate(grids, start=1)
        ),
        Account("patrol1", "防控巡查 赵刚", Role.STAFF, Team.PATROL),
        Account("maintenance1", "养护维修 孙强", Role.STAFF, Team.MAINTENANCE),
        Account("cleaning1", "保洁 周敏", Role.STAFF, Team.CLEANING),
        Account("environment1", "环境治理 吴磊", Role.STAFF, Team.ENVIRONMENT),
        Account("general1", "综合服务 郑洁", Role.STAFF, Team.GENERAL),
        Account("street", preset.street, Role.STREET, Team.STREET),
        Account("resident1", resident.name, Role.RESIDENT, household_id=resident.household_id),
        Account("merchant1", "便民超市", Role.MERCHANT),
        Account("visitor1", "访客", Role.VISITOR),
        Account("platform", "城市运行管理服务平台", Role.PLATFORM),
    )
