"""What the page sends, checked: nothing from a browser is believed."""

from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from labeling_app.rendering import inert_markdown
from rlhf.data.identity import Json
from rlhf.feedback.modes import MAX_RESPONSES
from rlhf.feedback.store import Progress, Task


class SubmittedAnswer(BaseModel):
    """An answer as sent: `answer` is what the item's mode asks for (`rlhf.feedback.modes`).

    `duration_seconds` is the time for which the item was in view.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    submission_id: UUID = Field(strict=False)
    item_id: int
    answer: Json
    duration_seconds: float = Field(ge=0, le=86_400, allow_inf_nan=False)
    rationale: str = Field(default="", max_length=4_000)


class SkipAnswer(BaseModel):
    """An item that a labeler passes on, with a reason or without one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    item_id: int
    reason: str = Field(default="", max_length=1_000)


def task_json(task: Task) -> Json:
    """What the browser may know of a task: ids and texts, in this labeler's order; no model names,
    and nothing that tells a check from work.

    Raises ValueError where the item has more responses than the page has letters.
    """
    if len(task.responses) > MAX_RESPONSES:
        raise ValueError(
            f"item {task.item_id} has {len(task.responses)} responses; the page shows up to "
            f"{MAX_RESPONSES}: add the item again with fewer"
        )
    return {
        "item_id": task.item_id,
        "mode": task.mode,
        "turns": [{"role": turn.role, **_text(turn.content)} for turn in task.prompt.messages],
        "responses": [{"id": response.id, **_text(response.text)} for response in task.responses],
        "draft": task.draft,
    }


def _text(text: str) -> Json:
    return {"text": text, "markdown": inert_markdown(text)}


def progress_json(progress: Progress) -> Json:
    return {"mine": progress.mine, "done": progress.done, "wanted": progress.wanted}
