"""Dispatch (派单): whom an order goes to, and who stands on each rung of the ladder."""

from services.domain.dispatch.choosing import Chosen, choose
from services.domain.dispatch.ladder import Reached, reach
from services.domain.dispatch.people import Candidate, Member, team_on_duty
from services.domain.dispatch.skills import SKILLS, skills_for

__all__ = [
    "SKILLS",
    "Candidate",
    "Chosen",
    "Member",
    "Reached",
    "choose",
    "reach",
    "skills_for",
    "team_on_duty",
]
