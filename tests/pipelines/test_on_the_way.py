"""What the judge says of PPO on its way: each kept answer with its own prompt, look by look."""

from pathlib import Path

import pytest

from pipelines.on_the_way import judged_on_the_way
from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.data.records import Prompt, Response


def judge(prompt: Prompt, response: Response) -> float:
    """The number at the end of the prompt, less one where the answer was cut off."""
    return float(prompt.text[-1]) - (not response.finished)


def folders(tmp_path: Path, rows: list[Json]) -> tuple[Path, Path]:
    prompts = [
        Prompt.of("Train 9", split="train"),
        Prompt.of("Ask 1", split="validation"),
        Prompt.of("Ask 3", split="validation"),
    ]
    for name in ("ppo", "prompts"):
        (tmp_path / name).mkdir()
    write_jsonl(tmp_path / "prompts/prompts.jsonl", (one.to_json() for one in prompts))
    write_jsonl(tmp_path / "ppo/samples.jsonl", rows)
    return tmp_path / "ppo", tmp_path / "prompts"


def kept(episode: int, query: str, kl: float, tokens: int = 5) -> Json:
    row: Json = {"episode": episode, "query": f"<user>{query}</user>", "model response": "Yes."}
    return {**row, "score": 0.0, "kl": kl, "tokens": tokens}


def test_each_look_by_hand(tmp_path: Path) -> None:
    rows = [kept(0, "Ask 1", 0), kept(0, "Ask 3", 0), kept(8, "Ask 1", 1), kept(8, "Ask 3", 2, 64)]
    first, second = judged_on_the_way(*folders(tmp_path, rows), judge, 64)
    # 1 and 3: a mean of 2 with a standard deviation of sqrt(2) over sqrt(2) answers.
    assert first == {"episode": 0, "kl": 0.0, "judged": 2.0, "answers": 2, "judged_se": 1.0}
    # The second answer of the second look was cut off: 1 and 2.
    assert (second["kl"], second["judged"]) == (1.5, 1.5)
    assert second["judged_se"] == pytest.approx(0.5)


def test_answers_to_other_prompts_are_not_judged(tmp_path: Path) -> None:
    assert judged_on_the_way(*folders(tmp_path, [kept(0, "Ask 3", 0)]), judge, 64) == []


def test_more_answers_than_prompts_or_none_at_all_are_not_judged(tmp_path: Path) -> None:
    rows = [kept(0, "Ask 1", 0), kept(0, "Ask 3", 0), kept(0, "Ask 1", 0)]
    ppo, prompts = folders(tmp_path, rows)
    assert judged_on_the_way(ppo, prompts, judge, 64) == []
    (ppo / "samples.jsonl").unlink()
    assert judged_on_the_way(ppo, prompts, judge, 64) == []
