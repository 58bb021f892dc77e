"""Who makes a request, and what their role lets them do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from fastapi import HTTPException, Request

Role = Literal["labeler", "reviewer", "lead", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)  # each may do all that those before it may


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person or program that is signed in: the pseudonym they work under, and their role."""

    labeler_id: str
    role: Role

    def may(self, role: Role) -> bool:
        """Whether this visitor may do what is for `role`."""
        return ROLES.index(self.role) >= ROLES.index(role)


# Says on whose behalf a request is made; raises HTTPException 401 where nobody is signed in.
CurrentVisitor = Callable[[Request], Visitor]


def only(role: Role, current_visitor: CurrentVisitor) -> CurrentVisitor:
    """A dependency that lets in those who may do what is for `role`, and refuses others (403)."""

    def visitor(request: Request) -> Visitor:
        found = current_visitor(request)
        if not found.may(role):
            raise HTTPException(403, f"this is for the role {role!r}, and you are {found.role!r}.")
        return found

    return visitor
