"""What people may do: each role may do all that those before it may."""

from typing import Literal, get_args

Role = Literal["labeler", "reviewer", "lead", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
