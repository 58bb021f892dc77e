"""The monitor's stage: it learns from a fifth of the ranked train prompts, the reward model that
PPO climbs from the others.
"""

from pathlib import Path

import pytest
from test_labelers_in_the_loop import at_work, gathered, preferred
from tiny_models import policy, save, tokenizer

from pipelines.artifacts import RankedRow, read_ranked_of
from pipelines.config import RunConfig, load_config
from pipelines.graph import STAGES
from pipelines.labelers import read_labeler_weights_of
from pipelines.reward_training import is_monitors, rankings_to_climb
from pipelines.stages import monitor, reward
from rlhf.data.records import SPLITS, Prompt
from rlhf.reward.scorer import Scorer

TINY = Path(__file__).parent / "tiny.yaml"
WATCHED = "ppo.monitor=true"


def config(*overrides: str) -> RunConfig:
    return load_config(TINY, overrides)


def test_a_fifth_of_the_prompts_is_the_monitors_and_no_ranking_is_both() -> None:
    rows = [RankedRow(Prompt.of(f"Request {n}.", split="train"), (), ()) for n in range(1000)]
    watched = config(WATCHED)
    own = {row.prompt.id for row in rows if is_monitors(watched, row.prompt.id)}
    climbed = {row.prompt.id for row in rankings_to_climb(watched, rows)}
    assert not own & climbed
    assert len(own | climbed) == 1000
    assert 150 < len(own) < 250  # 200, give or take four standard errors
    other = config(WATCHED, "seed=18")
    assert own != {row.prompt.id for row in rows if is_monitors(other, row.prompt.id)}
    for without in (config(), config(WATCHED, "ppo.enabled=false", "dpo.enabled=true")):
        assert len(rankings_to_climb(without, rows)) == 1000


def test_the_config_for_a_gpu_has_a_monitor_and_the_quickstart_none() -> None:
    folder = TINY.parents[2] / "pipelines" / "configs"
    found = {name: load_config(folder / f"{name}.yaml") for name in ("hub", "quickstart")}
    enabled = {name: monitor.STAGE.enabled(one) for name, one in found.items()}
    assert enabled == {"hub": True, "quickstart": False}


def test_the_stage_trains_on_those_and_the_reward_model_on_the_others(tmp_path: Path) -> None:
    gathered(tmp_path, each=2, prompts=60)
    preferred(tmp_path)
    save(policy(300), tmp_path / "sft" / "model")
    work = at_work(tmp_path, "monitor", WATCHED, "reward.trainer={max_steps: 2}")
    train = [row.prompt.id for row in read_ranked_of(tmp_path / "preferences", "train")]
    own = {one for one in train if is_monitors(work.config, one)}
    assert 0 < len(own) < len(train) / 2
    result = monitor.run(work)
    assert result["prompts"] == len(own)
    assert Scorer.load(tmp_path / "monitor" / "model").score([(5,)], [(6, 7)])
    # What the reward model's own stage makes of the same rankings:
    rows = {split: list(read_ranked_of(tmp_path / "preferences", split)) for split in SPLITS}
    weights = read_labeler_weights_of(tmp_path / "preferences")
    data = reward._tokenised(work.config, rows, tokenizer(), weights)
    assert {one.prompt_id for one in data["train"][0]} == set(train) - own


def test_a_monitor_that_nobody_would_look_at_is_not_trained(tmp_path: Path) -> None:
    work = at_work(tmp_path, "monitor", WATCHED, "ppo.trainer.num_sample_generations=0")
    with pytest.raises(ValueError, match="nobody would look at it"):
        monitor.run(work)


def test_without_rankings_of_its_own_it_says_so(tmp_path: Path) -> None:
    gathered(tmp_path, each=2, prompts=10, splits=("validation", "test"))
    preferred(tmp_path)
    save(policy(300), tmp_path / "sft" / "model")
    with pytest.raises(ValueError, match="the monitor has no rankings to learn from: rank more"):
        monitor.run(at_work(tmp_path, "monitor", WATCHED))


def test_ppo_reads_the_monitor_and_besides_it_only_the_evaluation() -> None:
    assert [stage.name for stage in STAGES if "monitor" in stage.needs] == ["ppo", "evaluate"]
    (stage,) = (stage for stage in STAGES if stage.name == "monitor")
    assert stage.enabled(config(WATCHED))
    assert not stage.enabled(config())
