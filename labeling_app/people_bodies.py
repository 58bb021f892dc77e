"""What is sent to and answered by the routes about people, checked and documented."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from rlhf.feedback.roles import Role


def _storable(text: str) -> str:
    """What every database can hold: no NUL, no half of a surrogate pair."""
    if "\0" in text or any(0xD800 <= ord(one) <= 0xDFFF for one in text):
        raise ValueError("the text holds a character that cannot be saved")
    return text


def _one_line(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("a name has one line of visible characters")
    return text.strip()


Text = Annotated[str, AfterValidator(_storable)]
Secret = Annotated[Text, Field(min_length=1, max_length=200)]
Login = Annotated[Text, Field(min_length=1, max_length=100, examples=["ada@example.org"])]
Name = Annotated[Text, Field(min_length=1, max_length=100), AfterValidator(_one_line)]
CampaignName = Annotated[Text, Field(min_length=1, max_length=200, examples=["replies"])]
Pseudonym = Annotated[Text, Field(max_length=64, examples=["labeler-1f0c9a7e"])]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SignIn(_Sent):
    """Who signs in."""

    login: Login
    password: Secret


class NewPassword(_Sent):
    """Another password for one's own account."""

    old: Secret
    new: Secret


class Opened(_Sent):
    """The secret of a link: what follows `#` in it."""

    token: Secret


class Accepted(Opened):
    """An invitation, accepted: how the person will sign in."""

    login: Login
    password: Secret


class PasswordByLink(Opened):
    """A new password, by a link that an admin made."""

    password: Secret


class Invite(_Sent):
    """An invitation to make."""

    role: Role = "labeler"
    campaign: CampaignName | None = None
    days: float = Field(default=7.0, gt=0, le=90, strict=False)


class AccountChange(_Sent):
    """What to change in an account."""

    role: Role | None = None
    active: bool | None = None


class Membership(_Sent):
    """The campaign that somebody becomes a member of."""

    campaign: CampaignName


class NewToken(_Sent):
    """A token to make: for oneself or, by a lead, for a new pseudonym (`new_labeler`) under which
    a program sends the answers of somebody elsewhere.
    """

    name: Name = Field(examples=["crowd batch 3"])
    days: float = Field(default=90.0, gt=0, le=366, strict=False)
    new_labeler: bool = False
    campaign: CampaignName | None = Field(
        default=None, description="With `new_labeler`: the campaign they become a member of."
    )


class Me(BaseModel):
    """Who is signed in. `by`: on this machine without a login, by a session, or by a token."""

    labeler_id: Pseudonym
    role: Role
    by: Literal["machine", "session", "token"]


class AccountView(BaseModel):
    """An account; `login` is shown to admins alone."""

    labeler_id: Pseudonym
    login: str | None
    role: Role
    active: bool
    created_at: str
    is_program: bool = Field(description="It has no password, only tokens.")


class InvitationView(BaseModel):
    """An invitation that can be accepted still."""

    id: str
    role: Role
    campaign: str | None
    made_by: str
    expires_at: float


class Link(BaseModel):
    """A link with a secret that is shown once. What follows `#` is never sent to a server's log."""

    url: str = Field(examples=["https://rank.example.org/invitation#…"])
    expires_at: float


class Offer(BaseModel):
    """What an invitation offers."""

    role: Role
    campaign: str | None
    expires_at: float


class SessionView(BaseModel):
    """A session or a token: its name and last use, never its secret."""

    id: str
    name: str
    created_at: str
    seen_at: float = Field(description="The last use, to within ten minutes.")
    expires_at: float
    is_this: bool = Field(description="The one that this request came with.")


class TokenMade(BaseModel):
    """A new token. This is the only time that it is shown."""

    token: str = Field(examples=["rlhf_…"])
    id: str
    labeler_id: Pseudonym
    expires_at: float


class CampaignView(BaseModel):
    """A campaign that is there to be worked on; leads see those of others too."""

    name: str
    mode: str
    is_open: bool
    may_work: bool


class Done(BaseModel):
    """It is done."""

    done: Literal[True] = True
