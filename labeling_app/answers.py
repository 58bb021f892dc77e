"""What the page sends, checked: nothing from a browser is believed."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from labeling_app.rendering import inert_markdown
from rlhf.data.identity import Json
from rlhf.feedback.store import Progress, Task

MIN_RESPONSES, MAX_RESPONSES = 2, 9


class RankAnswer(BaseModel):
    """One ranking as sent: response id -> rank, 1 for the best, equal numbers for a tie.

    Ranks may leave gaps: only their order counts. `duration_seconds` is the time for which the
    item was in view.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    submission_id: UUID = Field(strict=False)
    item_id: int
    ranks: dict[str, int] = Field(max_length=MAX_RESPONSES)
    none_acceptable: bool
    duration_seconds: float = Field(ge=0, le=86_400, allow_inf_nan=False)

    def groups(self) -> tuple[tuple[str, ...], ...]:
        """Tie groups of response ids, best first; ValueError for a rank that is out of range."""
        for response, rank in self.ranks.items():
            if not 1 <= rank <= MAX_RESPONSES:
                raise ValueError(f"rank {rank} of {response}: ranks go from 1 to {MAX_RESPONSES}")
        return tuple(
            tuple(sorted(response for response, rank in self.ranks.items() if rank == level))
            for level in sorted(set(self.ranks.values()))
        )


class SkipAnswer(BaseModel):
    """An item that a labeler passes on, with a reason or without one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    item_id: int
    reason: str = Field(default="", max_length=1_000)


def task_json(task: Task) -> Json:
    """What the browser may know of a task: ids and texts, in this labeler's order; no model names.

    Raises ValueError where the item has more responses than the page has letters.
    """
    count = len(task.responses)
    if not MIN_RESPONSES <= count <= MAX_RESPONSES:
        raise ValueError(
            f"item {task.item_id} has {count} responses; the ranking page shows {MIN_RESPONSES} "
            f"to {MAX_RESPONSES}: add the item again with fewer"
        )
    return {
        "item_id": task.item_id,
        "turns": [{"role": turn.role, **_text(turn.content)} for turn in task.prompt.messages],
        "responses": [{"id": response.id, **_text(response.text)} for response in task.responses],
    }


def _text(text: str) -> Json:
    return {"text": text, "markdown": inert_markdown(text)}


def progress_json(progress: Progress) -> Json:
    return {"mine": progress.mine, "done": progress.done, "wanted": progress.wanted}
