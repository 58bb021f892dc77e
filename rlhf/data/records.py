"""The nouns of the loop: prompts, responses, rankings, preferences.

Frozen, hashable by content, free of torch. Every record names the records it came from by id.
"""

from dataclasses import dataclass, field, replace
from typing import Literal, Self, get_args

from rlhf.data.identity import Json, content_id

Role = Literal["system", "user", "assistant"]
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str

    def to_json(self) -> Json:
        return {"role": self.role, "content": self.content}

    @classmethod
    def from_json(cls, row: Json) -> Self:
        if row.get("role") not in get_args(Role) or not isinstance(row.get("content"), str):
            raise ValueError(
                f"a message needs a role ({', '.join(get_args(Role))}) and a text, got {row!r}"
            )
        return cls(row["role"], row["content"])


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the model is asked: a conversation whose last turn is the user's.

    `id` is the hash of the messages alone, so that the same question is the same prompt wherever
    it comes from. `demonstration` is an answer written for it (for SFT), where there is one.
    """

    id: str
    messages: tuple[Message, ...]
    family: str = ""
    split: Split | None = None
    demonstration: str | None = None

    @classmethod
    def of(
        cls,
        messages: str | tuple[Message, ...],
        *,
        family: str = "",
        split: Split | None = None,
        demonstration: str | None = None,
    ) -> Self:
        """A prompt from a text (one user turn) or from messages; its id is made here."""
        turns = (Message("user", messages),) if isinstance(messages, str) else messages
        if not turns or turns[-1].role != "user" or not turns[-1].content.strip():
            raise ValueError(
                "a prompt must end in a user turn with a text, got "
                f"{[m.to_json() for m in turns]!r}"
            )
        return cls(
            content_id("prompt", [m.to_json() for m in turns]), turns, family, split, demonstration
        )

    @property
    def text(self) -> str:
        """The last user turn."""
        return self.messages[-1].content

    def to_json(self) -> Json:
        row: Json = {"id": self.id, "messages": [m.to_json() for m in self.messages]}
        if self.family:
            row["family"] = self.family
        if self.split:
            row["split"] = self.split
        if self.demonstration is not None:
            row["demonstration"] = self.demonstration
        return row

    @classmethod
    def from_json(cls, row: Json) -> Self:
        return cls(
            row["id"],
            tuple(Message.from_json(m) for m in row["messages"]),
            row.get("family", ""),
            row.get("split"),
            row.get("demonstration"),
        )


@dataclass(frozen=True, slots=True)
class Response:
    """One answer to one prompt, and which model wrote it. `finished` is False where the length
    limit cut it off.
    """

    id: str
    prompt_id: str
    text: str
    model: str = ""
    finished: bool = True

    @classmethod
    def of(cls, prompt_id: str, text: str, *, model: str = "", finished: bool = True) -> Self:
        return cls(
            content_id("response", [prompt_id, text, finished]), prompt_id, text, model, finished
        )

    def to_json(self) -> Json:
        row: Json = {
            "id": self.id,
            "prompt_id": self.prompt_id,
            "text": self.text,
            "model": self.model,
        }
        if not self.finished:
            row["finished"] = False
        return row

    @classmethod
    def from_json(cls, row: Json) -> Self:
        return cls(
            row["id"],
            row["prompt_id"],
            row["text"],
            row.get("model", ""),
            row.get("finished", True),
        )


@dataclass(frozen=True, slots=True)
class Ranking:
    """One labeler's order of the responses to one prompt: best group first, ties share a group.

    `none_acceptable` is a judgement of its own and goes with an order as well as without one.
    `shown` is the order on the screen. A correction is a new ranking that `supersedes` the old
    one. Pairs are derived, never stored. `mode` names how it was asked for and `details` holds
    what that mode adds (the strength of a comparison, ratings); see `rlhf.feedback.modes`.
    """

    id: str
    prompt_id: str
    labeler_id: str
    groups: tuple[tuple[str, ...], ...]
    shown: tuple[str, ...]
    none_acceptable: bool = False
    submitted_at: str = ""
    duration_seconds: float = 0.0
    rationale: str = ""
    supersedes: str | None = None
    submission_id: str = field(default="", compare=False)
    mode: str = "rank"
    details: Json = field(default_factory=dict, hash=False)

    @classmethod
    def of(
        cls,
        *,
        prompt_id: str,
        labeler_id: str,
        groups: tuple[tuple[str, ...], ...],
        shown: tuple[str, ...],
        none_acceptable: bool = False,
        submitted_at: str = "",
        duration_seconds: float = 0.0,
        rationale: str = "",
        supersedes: str | None = None,
        submission_id: str = "",
        mode: str = "rank",
        details: Json | None = None,
    ) -> Self:
        """A checked ranking; ties are sorted within their group, and the id is the hash of the
        content.

        Raises ValueError where a group is empty, a response stands twice, or the ranked are not
        those shown.
        """
        flat = [response for group in groups for response in group]
        if any(not group for group in groups):
            raise ValueError(
                f"a ranking of {prompt_id} by {labeler_id} holds an empty tie group: {groups!r}"
            )
        if len(set(flat)) != len(flat):
            raise ValueError(
                f"a ranking of {prompt_id} by {labeler_id} names a response twice: {groups!r}"
            )
        if not flat and not none_acceptable:
            raise ValueError(
                f"an empty ranking of {prompt_id} by {labeler_id}: rank the responses, or skip"
            )
        if flat and set(flat) != set(shown):
            raise ValueError(
                f"{labeler_id} ranked {sorted(flat)} of {prompt_id} but was shown {sorted(shown)}"
            )
        # One response alone can be rated; to be ordered it takes two.
        if len(set(shown)) != len(shown) or len(shown) < (1 if mode == "rate" else 2):
            raise ValueError(
                f"a ranking of {prompt_id} needs at least two different responses, got {shown!r}"
            )
        if not 0 <= duration_seconds < float("inf"):
            raise ValueError(f"a ranking took {duration_seconds} seconds: it must be 0 or more")
        draft = cls(
            "",
            prompt_id,
            labeler_id,
            tuple(tuple(sorted(group)) for group in groups),
            shown,
            none_acceptable,
            submitted_at,
            round(duration_seconds, 3),
            rationale,
            supersedes,
            submission_id,
            mode,
            details or {},
        )
        # Nobody has seen the draft yet, and a million of them are made in a minute: no copy.
        object.__setattr__(draft, "id", content_id("ranking", draft._content()))
        return draft

    def _content(self) -> Json:
        content: Json = {
            "prompt_id": self.prompt_id,
            "labeler_id": self.labeler_id,
            "groups": [list(group) for group in self.groups],
            "shown": list(self.shown),
            "none_acceptable": self.none_acceptable,
            "submitted_at": self.submitted_at,
            "duration_seconds": self.duration_seconds,
            "rationale": self.rationale,
            "supersedes": self.supersedes,
        }
        if self.mode != "rank":
            content["mode"] = self.mode
        if self.details:
            content["details"] = self.details
        return content

    def to_json(self) -> Json:
        return {"id": self.id, **self._content(), "submission_id": self.submission_id}

    @classmethod
    def from_json(cls, row: Json) -> Self:
        made = cls.of(
            prompt_id=row["prompt_id"],
            labeler_id=row["labeler_id"],
            groups=tuple(tuple(group) for group in row["groups"]),
            shown=tuple(row["shown"]),
            none_acceptable=row.get("none_acceptable", False),
            submitted_at=row.get("submitted_at", ""),
            duration_seconds=row.get("duration_seconds", 0.0),
            rationale=row.get("rationale", ""),
            supersedes=row.get("supersedes"),
            submission_id=row.get("submission_id", ""),
            mode=row.get("mode", "rank"),
            details=row.get("details"),
        )
        if "id" in row and row["id"] != made.id:
            raise ValueError(f"ranking {row['id']} was altered: its content hashes to {made.id}")
        return made

    def positions(self) -> dict[str, int]:
        """Response id -> index of its tie group, 0 for the best."""
        return {response: level for level, group in enumerate(self.groups) for response in group}


@dataclass(frozen=True, slots=True)
class Demonstration:
    """An answer that a labeler wrote for a prompt, from nothing or from a response
    (`edited_from`). Append-only, like a ranking.
    """

    id: str
    prompt_id: str
    labeler_id: str
    text: str
    edited_from: str | None = None
    submitted_at: str = ""
    duration_seconds: float = 0.0
    rationale: str = ""
    supersedes: str | None = None
    submission_id: str = field(default="", compare=False)

    @classmethod
    def of(
        cls,
        *,
        prompt_id: str,
        labeler_id: str,
        text: str,
        edited_from: str | None = None,
        submitted_at: str = "",
        duration_seconds: float = 0.0,
        rationale: str = "",
        supersedes: str | None = None,
        submission_id: str = "",
    ) -> Self:
        """A checked demonstration; its id is the hash of the content. Raises ValueError where the
        text is empty.
        """
        if not text.strip():
            raise ValueError(
                f"an empty demonstration for {prompt_id} by {labeler_id}: write, or skip"
            )
        if not 0 <= duration_seconds < float("inf"):
            raise ValueError(f"writing took {duration_seconds} seconds: it must be 0 or more")
        draft = cls(
            "",
            prompt_id,
            labeler_id,
            text,
            edited_from,
            submitted_at,
            round(duration_seconds, 3),
            rationale,
            supersedes,
            submission_id,
        )
        return replace(draft, id=content_id("demonstration", draft._content()))

    def _content(self) -> Json:
        return {
            "prompt_id": self.prompt_id,
            "labeler_id": self.labeler_id,
            "text": self.text,
            "edited_from": self.edited_from,
            "submitted_at": self.submitted_at,
            "duration_seconds": self.duration_seconds,
            "rationale": self.rationale,
            "supersedes": self.supersedes,
        }

    def to_json(self) -> Json:
        return {"id": self.id, **self._content(), "submission_id": self.submission_id}

    @classmethod
    def from_json(cls, row: Json) -> Self:
        made = cls.of(**{key: value for key, value in row.items() if key != "id"})
        if "id" in row and row["id"] != made.id:
            raise ValueError(
                f"demonstration {row['id']} was altered: its content hashes to {made.id}"
            )
        return made


@dataclass(frozen=True, slots=True)
class Preference:
    """One pair, in the shape that TRL's trainers load (messages), with where it came from.

    `group_id` is prompt and labeler; `weight` shares one vote per prompt among its pairs; `margin`
    is the number of tie groups between the two; `tie` marks a pair without a winner (`chosen` and
    `rejected` are then arbitrary).
    """

    prompt: tuple[Message, ...]
    chosen: str
    rejected: str
    prompt_id: str
    ranking_id: str
    group_id: str
    weight: float
    margin: int
    tie: bool

    def to_json(self) -> Json:
        return {
            "prompt": [m.to_json() for m in self.prompt],
            "chosen": [{"role": "assistant", "content": self.chosen}],
            "rejected": [{"role": "assistant", "content": self.rejected}],
            "prompt_id": self.prompt_id,
            "ranking_id": self.ranking_id,
            "group_id": self.group_id,
            "weight": self.weight,
            "margin": self.margin,
            "tie": self.tie,
        }
