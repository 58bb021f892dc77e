"""Campaigns to label, and labelers who do."""

from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback.store import Campaign, Item, Judgement, Store, Task

LEASE_SECONDS = 30 * 60.0


def item(number: int, *, replies: str = "abc", wanted: int = 1) -> Item:
    prompt = Prompt.of(f"Question {number}?")
    answers = tuple(Response.of(prompt.id, f"{letter} {number}") for letter in replies)
    return Item(prompt, answers, wanted)


def campaign(store: Store, count: int, *, wanted: int = 1, name: str = "main") -> Campaign:
    made = store.create_campaign(name)
    assert store.add_items(made, [item(n, wanted=wanted) for n in range(count)]) == count
    return made


def claimed(store: Store, made: Campaign, labeler: str, now: float | None = None) -> Task:
    task = store.claim(made, labeler, now=now)
    assert task is not None
    return task


def answer(store: Store, task: Task, submission: str, order: str = "") -> Ranking:
    """Ranks the responses as shown, or by the first letter of their texts."""
    ids = {response.text[0]: response.id for response in task.responses}
    groups = [[ids[letter]] for letter in order] or [[one] for one in task.shown]
    said = Judgement(tuple(tuple(group) for group in groups))
    saved = store.submit(task.item_id, task.labeler_id, said, submission_id=submission)
    assert isinstance(saved, Ranking)
    return saved


def ranked(of: Item, labeler: str, order: str, supersedes: str | None = None) -> Ranking:
    ids = {response.text[0]: response.id for response in of.responses}
    return Ranking.of(
        prompt_id=of.prompt.id,
        labeler_id=labeler,
        groups=tuple((ids[letter],) for letter in order),
        shown=tuple(ids.values()),
        supersedes=supersedes,
    )
