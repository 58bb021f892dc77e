"""What people said of two policies, through the store and the stage, worked out by hand."""

from pathlib import Path

import pytest

from pipelines.campaigns import evaluation_campaign
from pipelines.config import load_config
from pipelines.stage import Work
from pipelines.stages import judge
from rlhf.data.jsonl import write_jsonl
from rlhf.feedback.store import Judgement, Store

QUICKSTART = Path(__file__).parents[2] / "pipelines/configs/quickstart.yaml"


def answer(text: str, tokens: int = 5) -> dict[str, object]:
    return {"text": text, "tokens": tokens, "finished": True}


def test_only_what_was_judged_counts_and_two_policies_are_held_side_by_side(
    tmp_path: Path,
) -> None:
    """DPO says what SFT says on half of 24 prompts, and PPO never. Whoever is asked likes DPO and
    not PPO; half of the contests are judged.
    """
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Question {n}?"}],
            "answers": {
                "reference": answer(f"sft {n}"),
                "dpo": answer(f"sft {n}" if n % 2 else f"dpo {n}", 5 + n % 3),
                "ppo": answer(f"ppo {n}", 5 + n % 4),
            },
        }
        for n in range(24)
    ]
    write_jsonl(tmp_path / "evaluate/answers.jsonl", rows)
    store = f"label.store={tmp_path / 'store.db'}"
    config = load_config(QUICKSTART, [store, "evaluate.people_judgements=18"])
    inputs = {"evaluate": tmp_path / "evaluate"}
    nothing = lambda *_: None  # noqa: E731
    work = Work(config, tmp_path / "judge", inputs, nothing, nothing, nothing)
    with Store(config.store) as held:
        campaign = evaluation_campaign(held, config, inputs["evaluate"])
        items = list(held.items(campaign))
        texts = {one.id: one.text for item in items for one in item.responses}
        assert len(items) == 36
        for number in range(18):
            task = held.claim(campaign, "ada")
            assert task is not None
            order = sorted(task.shown, key=lambda one: ("dpo", "sft", "ppo").index(texts[one][:3]))
            said = Judgement(tuple((one,) for one in order))
            held.submit(task.item_id, "ada", said, submission_id=f"j{number}")
    found = judge.run(work)
    dpo, ppo = found["policies"]["dpo"], found["policies"]["ppo"]
    assert (dpo["rate"], dpo["ties"], dpo["losses"], dpo["same"]) == (1.0, 0, 0, 12)
    assert (ppo["rate"], ppo["wins"], ppo["ties"], ppo["same"]) == (0.0, 0, 0, 0)
    assert dpo["wins"] + ppo["losses"] == 18
    # The sign test of n wins in n is 2 / 2^n; Holm doubles the smaller of two.
    values = sorted(2.0 ** (1 - n) for n in (dpo["wins"], ppo["losses"]))
    held_p = sorted((dpo["p_holm"], ppo["p_holm"]))
    assert held_p == pytest.approx([2 * values[0], max(2 * values[0], values[1])])
    (row,) = found["differences"]
    assert (row["first"], row["second"], row["value"]) == ("dpo", "ppo", 1.0)
    assert found["best"] == "dpo"
