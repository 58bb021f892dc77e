"""What stands between a reward model and PPO, and what the certify stage makes of labelers and
ensembles.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipelines.certifying import Candidate
from pipelines.commands.certify import config_of
from pipelines.config import RunConfig, load_config
from pipelines.fitness import Climber, fitness_for_rl
from pipelines.stage import UnfitRewardError, Work
from pipelines.stages import rloo
from rlhf.data.jsonl import write_json
from rlhf.data.records import Ranking
from rlhf.reward.accuracy import Accuracy
from rlhf.reward.certificate import Evidence, certify, checks_of, thresholds
from rlhf.reward.ensemble import ALONE, Ensemble
from rlhf.reward.learning_curve import Forecast
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.votes import votes_of

QUICKSTART = Path(__file__).parents[2] / "pipelines/configs/quickstart.yaml"
STRONG = Accuracy(0.8, 0.75, 0.85, 900, 200)
GAIN = Accuracy(0.2, 0.1, 0.3, 900, 200)
FIT = Evidence(split="test", accuracy=STRONG, gain_over_longest=GAIN)
WEAK = replace(FIT, accuracy=Accuracy(0.6, 0.55, 0.65, 900, 200))
NOTHING = Evidence()


def work(folder: Path, evidence: Evidence | None, *overrides: str, more: int | None = None) -> Work:
    """A PPO stage about to start on a reward model of which this is known."""
    inputs: dict[str, Path] = {}
    if evidence is not None:
        forecast = Forecast(0.65, more, more, more, 1.0)
        made = certify(evidence, checks_of(evidence, thresholds()), forecast)
        write_json(folder / "certificate.json", made.to_json())
        inputs["certify"] = folder
    config = load_config(QUICKSTART, overrides)
    return Work(config, folder, inputs, lambda _: None, lambda *_: None, lambda *_: None)


@pytest.mark.parametrize("climber", ["ppo", "rloo"])
def test_rl_starts_on_a_fit_reward_model(tmp_path: Path, climber: Climber) -> None:
    assert fitness_for_rl(work(tmp_path, FIT), climber) == {
        "reward_verdict": "fit for RL",
        "unfit_reward_allowed": False,
    }


@pytest.mark.parametrize(
    ("evidence", "more", "said"),
    [
        (
            WEAK,
            1300,
            r"the reward model is fit for best-of-n only \(accuracy on them, lower edge of its "
            r"interval\): collect about 1,300 more rankings, or set ppo.allow_unfit_reward=true",
        ),
        (WEAK, None, r"\): rank more answers, or start from a larger model, or set ppo"),
        (
            NOTHING,
            None,
            r"is not yet fit for RL \(held-out prompts with a ranking and 2 more checks\): rank "
            r"answers to more prompts",
        ),
    ],
)
def test_ppo_does_not_start_on_another(
    tmp_path: Path, evidence: Evidence, more: int | None, said: str
) -> None:
    with pytest.raises(UnfitRewardError, match=said):
        fitness_for_rl(work(tmp_path, evidence, more=more), "ppo")
    told = work(tmp_path, evidence, "ppo.allow_unfit_reward=true", more=more)
    assert fitness_for_rl(told, "ppo")["unfit_reward_allowed"] is True
    assert fitness_for_rl(told, "ppo")["reward_verdict"] in {"fit for best-of-n only", "not yet"}


def test_rloo_stands_behind_the_same_gate(tmp_path: Path) -> None:
    """Its stage asks before it loads anything, and what PPO is allowed does not let RLOO pass."""
    refused = work(tmp_path, WEAK, "rloo.enabled=true", "ppo.allow_unfit_reward=true")
    said = (
        r"RLOO does not start: .* or set rloo.allow_unfit_reward=true to start all the same, or "
        r"rloo.enabled=false to go on without RLOO"
    )
    with pytest.raises(UnfitRewardError, match=said):
        rloo.run(refused)
    assert "certify" in rloo.STAGE.needs
    told = work(tmp_path, WEAK, "rloo.allow_unfit_reward=true")
    assert fitness_for_rl(told, "rloo") == {
        "reward_verdict": "fit for best-of-n only",
        "unfit_reward_allowed": True,
    }
    with pytest.raises(UnfitRewardError):
        fitness_for_rl(told, "ppo")


def test_without_a_certificate_none_is_asked_for(tmp_path: Path) -> None:
    found = fitness_for_rl(work(tmp_path, None, "certify.enabled=false"), "rloo")
    assert found == {"reward_verdict": None, "unfit_reward_allowed": False}


def test_the_config_of_a_run_is_the_one_its_reward_model_had(tmp_path: Path) -> None:
    config = load_config(QUICKSTART, ["name=mine", "reward.margin=0.5"])
    root = tmp_path / "mine" / "round-1" / "reward"
    write_json(root / "aaa" / "config.json", {"run": config.model_dump(mode="json")})
    (root / "current").symlink_to("aaa")
    found = config_of(tmp_path / "mine", ["certify.probes=50"])
    assert (found.reward.margin, found.certify.probes) == (0.5, 50)
    assert found.folder == tmp_path / "mine"
    assert config_of(QUICKSTART, []) == load_config(QUICKSTART)
    (tmp_path / "empty" / "round-1").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"no stage of .* is complete yet"):
        config_of(tmp_path / "empty", [])


def ranking(prompt: str, labeler: str, better: str, worse: str) -> Ranking:
    groups = ((better,), (worse,))
    return Ranking.of(prompt_id=prompt, labeler_id=labeler, groups=groups, shown=(better, worse))


class WordCounter:
    """A scorer and tokenizer in one: words are ids, and more words score higher."""

    eos_token_id = 0
    ensemble = ALONE

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [sum(map(ord, word)) for word in text.split()]}

    def score(self, prompts: Sequence[Any], responses: Sequence[Sequence[int]]) -> list[float]:
        assert len(prompts) == len(responses)
        return [float(len(ids) - (ids[-1] == 0)) for ids in responses]


class Members(WordCounter):
    """Two members that agree on what they saw, and differ by one on what they did not."""

    ensemble = Ensemble(2)

    def __init__(self, seen: set[tuple[int, ...]]) -> None:
        self.seen = seen

    def score_members(
        self, prompts: Sequence[Any], responses: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        assert len(prompts) == len(responses)
        return [[0.0, 0.0 if tuple(ids) in self.seen else 1.0] for ids in responses]


def candidate(scorer: WordCounter) -> Candidate:
    """Forty prompts, each with an answer of eight words that is liked and one of four that is
    not.
    """
    texts: dict[str, str] = {}
    scores: dict[str, float] = {}
    rankings, ranked = [], []
    for n in range(40):
        good, bad = f"{n}+", f"{n}-"
        texts |= {good: f"big {n} c d e f g h", bad: f"a {n} c d"}
        rankings.append(ranking(f"p{n}", "ann", good, bad))
        ranked.append(RankedPrompt(f"p{n}", (1,) * 4, ((1,), (2,)), (8, 4), (0,), (1,), (1.0,)))
        scores |= {good: 8.0, bad: 4.0}
    none = votes_of([])
    return Candidate(
        scorer,  # type: ignore[arg-type]
        scorer,  # type: ignore[arg-type]
        16,
        {"train": [], "validation": [], "test": ranked},
        {"train": none, "validation": none, "test": votes_of(rankings)},
        scores,
        texts,
        frozenset(texts) - {"7+"},
        {},
    )


def test_probes_of_a_scorer_that_counts_words() -> None:
    found, disagreement = candidate(WordCounter()).probe("test", 30)
    by_name = {one.probe: one for one in found}
    # Scores of 8 and 4 have spread 2. The one answer that was cut off stays without its end.
    assert by_name["truncation"].right.count == 30
    assert (by_name["truncation"].right.value, by_name["truncation"].shift) == (1.0, -2.0)
    assert by_name["swap"].right.value == 0, "it reads no prompt: the score is the same"
    assert by_name["paraphrase"].right.value == 1
    # 4 tokens of prompt, 16 words and EOS do not fit in 16.
    assert (by_name["repetition"].right.count, by_name["repetition"].left_out) == (0, 30)
    assert disagreement is None


def test_members_of_an_ensemble_differ_where_nothing_was_seen() -> None:
    words = WordCounter()
    texts = candidate(words).texts.values()
    seen = {(*words(text)["input_ids"], *end) for text in texts for end in ((0,), ())}
    _, found = candidate(Members(seen)).probe("test", 30)
    assert found is not None
    assert (found.members, found.inside, found.swapped) == (2, 0.0, 0.0)
    assert found.shuffled == pytest.approx(0.5 / 2, abs=0.02)  # two members, one apart; spread 2


def test_scores_that_are_all_alike_are_not_probed() -> None:
    flat = replace(
        candidate(WordCounter()), scores=dict.fromkeys(candidate(WordCounter()).texts, 1.0)
    )
    assert flat.probe("test", 30) == ((), None)
    assert np.std(list(flat.scores.values())) == 0


def test_the_shipped_quickstart_certifies() -> None:
    config: RunConfig = load_config(QUICKSTART)
    assert config.certify.enabled
    assert not config.ppo.allow_unfit_reward
    assert len(config.certify.curve) >= 2
