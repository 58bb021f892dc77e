"""Identical pairs come again and again, not once."""

from pathlib import Path

from rlhf.data.records import Prompt, Response
from rlhf.feedback.store import Item, Judgement, Store


def test_a_labeler_is_checked_with_one_item_after_another(tmp_path: Path) -> None:
    with Store(tmp_path / "store.db") as store:
        campaign = store.create_campaign("Replies", settings={"identical_share": 0.5})
        prompts = [Prompt.of(f"question {number}") for number in range(40)]
        store.add_items(
            campaign,
            [Item(one, tuple(Response.of(one.id, text) for text in "abc")) for one in prompts],
        )
        checked = []
        for turn in range(30):
            task = store.claim(campaign, "ada", now=float(turn))
            assert task is not None
            if any(one.endswith("~again") for one in task.shown):
                checked.append(task.prompt.id)
            groups = tuple((one,) for one in sorted(task.shown))
            store.submit(
                task.item_id, "ada", Judgement(groups), submission_id=str(turn), now=float(turn)
            )
    assert len(checked) > 8
    assert len(set(checked)) == len(checked)
