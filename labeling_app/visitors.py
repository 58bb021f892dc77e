"""Who makes a request, and what their role lets them do."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from fastapi import HTTPException, Request

from rlhf.feedback.roles import ROLES, Role

__all__ = ["ROLES", "CurrentVisitor", "Role", "Visitor", "by_browser", "only"]


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person or program that is signed in: the pseudonym they work under, and their role.

    `by` says how: on this machine without a login, with a browser's session, or with a token;
    `secret` is the digest of the session or token.
    """

    labeler_id: str
    role: Role
    by: Literal["machine", "session", "token"] = "machine"
    secret: str = ""

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


def by_browser(current_visitor: CurrentVisitor) -> CurrentVisitor:
    """A dependency for what a program must not do with a person's token: it could keep itself
    alive, or lock the person out.
    """

    def visitor(request: Request) -> Visitor:
        found = current_visitor(request)
        if found.by == "token":
            raise HTTPException(403, "a token cannot do this: sign in with a browser.")
        return found

    return visitor
