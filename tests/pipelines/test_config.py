"""Configs: every shipped one loads, every fault is one sentence that names it, every field changes
something.
"""

import re
from pathlib import Path

import pytest

from pipelines.config import RunConfig, load_config, override_config
from pipelines.graph import STAGES, check_stage, stages_of
from pipelines.sections.evidence import EndpointConfig
from pipelines.stages.evaluate import judge_name
from pipelines.trainer_fields import check_trainer_blocks
from rlhf.data.identity import Json
from rlhf.models.lora import LoraSettings

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "pipelines" / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configs_load_and_their_trainer_blocks_are_known(path: Path) -> None:
    config = load_config(path)
    check_trainer_blocks(config)
    assert {stage.name for stage in stages_of(config)} >= {"prompts", "sft", "reward", "report"}
    assert {4, 16} <= set(config.evaluate.best_of), "rows that every evaluation has"


def test_overrides_are_read_as_yaml_and_checked() -> None:
    config = load_config(
        SHIPPED[0], ["labelers=people", "sample.num_responses=9", "evaluate.best_of=[2, 8]"]
    )
    assert config.labelers == "people"
    assert config.sample.num_responses == 9
    assert config.evaluate.best_of == (2, 8)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["smaple.num_prompts=3"], r"unknown key 'smaple'; did you mean 'sample'\?"),
        (["sample.num_prompt=3"], r"unknown key 'sample.num_prompt'; did you mean 'num_prompts'\?"),
        (["label.crew.carefull=3"], r"did you mean 'careful'\?"),
        (["sample.num_prompts=many"], r"sample.num_prompts: .*integer.*'many'"),
        (["sample.num_responses=1"], r"sample.num_responses: .*2.*got 1"),
        (["prompts.shares.train=0.9"], r"prompts.shares: train, validation and test sum to 1.2"),
        (["labelers=robots"], r"labelers: .*'simulated', 'people' or 'imported'"),
        (["name=../escape"], r"name: "),
        (["dpo.enabled=false", "ppo.enabled=false"], r"nothing would be aligned"),
        (["certify.curve=[0.5, 1.0]"], r"certify.curve.1: .*less than 1, got 1.0"),
        (["certify.probes=3"], r"certify.probes: .*20, got 3"),
        (["ppo.memory=adapters"], r"ppo.memory: adapters needs model.lora"),
        (["ppo.reward_alone=true"], r"reward_alone needs the function that stands alone"),
        (["ppo.monitor=true", "ppo.held_out_prompts=0"], r"a monitor needs prompts to look at"),
        (["ppo.reward=nothing"], r"ppo.reward: String should match"),
        (["sample"], r"'sample' is no override: write section.key=value"),
        (["seed.deeper=1"], r"seed holds a value, not a section"),
        (["model.path=some/model", "prompts.source=x.jsonl"], r"simulated labelers do not know"),
        (["prompts.source=x.jsonl"], r"prompts.source must be built-in"),
    ],
)
def test_a_fault_is_one_sentence_that_names_it(overrides: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        load_config(ROOT / "pipelines/configs/quickstart.yaml", overrides)
    assert "\n" not in str(raised.value)


def test_files_that_are_no_config(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no config file at"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match="no config file at"):
        load_config(tmp_path)  # a folder
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe[")
    with pytest.raises(ValueError, match="is not YAML"):
        load_config(binary)
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [x")
    with pytest.raises(ValueError, match="is not YAML") as raised:
        load_config(broken)
    assert "\n" not in str(raised.value)
    broken.write_text("- a list")
    with pytest.raises(ValueError, match="must hold sections"):
        load_config(broken)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "sft.trainer.learning_rat=1",
            r"sft.trainer.learning_rat for SFTConfig; did you mean 'learning_rate'",
        ),
        ("ppo.trainer.kl_coeff=1", r"ppo.trainer.kl_coeff for PPOConfig; did you mean 'kl_coef'"),
        (
            "sft.trainer.learning_rate=fast",
            r"sft.trainer.learning_rate must be a number, got 'fast'",
        ),
        ("ppo.trainer.vf_coef=", r"ppo.trainer.vf_coef must be a number, got None$"),
        ("dpo.trainer.learning_rate=5e-5", r"write 5.0e-5, not 5e-5: YAML reads that as text"),
        (
            "reward.trainer.lr_scheduler_type=foo",
            r"reward.trainer: 'foo' is not a valid|reward.trainer: foo is not a valid",
        ),
        ("ppo.trainer.gamma=7", r"ppo.trainer: gamma must lie in 0 to 1, got 7"),
        ("ppo.trainer.num_mini_batches=3", r"ppo.trainer: a rollout of 64 episodes"),
        ("dpo.trainer.seed=1", r"dpo.trainer.seed is set by the run itself"),
    ],
)
def test_trainer_blocks_are_checked_against_the_trainers(override: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_trainer_blocks(load_config(ROOT / "pipelines/configs/quickstart.yaml", [override]))


def test_what_stands_in_the_section_is_refused_in_its_trainer_block() -> None:
    overrides = ["dpo.implementation=trl", "dpo.trainer.loss_type=ipo"]
    with pytest.raises(ValueError, match=r"dpo.trainer.loss_type is dpo.loss here: set that"):
        check_trainer_blocks(load_config(ROOT / "pipelines/configs/quickstart.yaml", overrides))


# A changed value for every field of ours, and the stages whose settings it must change.
CHANGES = {
    "seed": ("18", "prompts"),
    "labelers": ("people", "label"),
    "prompts.source": ("x.jsonl", "prompts"),
    "prompts.hub_split": ("test", "prompts"),
    "prompts.count": ("99", "prompts"),
    "prompts.shares": ("{train: 0.5, validation: 0.2, test: 0.3}", "prompts"),
    "prompts.near_duplicate_threshold": ("0.5", "prompts"),
    "model.path": ("a/b", "sft"),
    "model.chat_template": ("plain-turns", "sft"),
    "model.dtype": ("bfloat16", "sft"),
    "model.lora": ("{r: 4}", "reward"),
    "model.max_tokens": ("200", "pretrain"),
    "pretrain.documents": ("200", "pretrain"),
    "pretrain.vocab_size": ("500", "pretrain"),
    "pretrain.hidden_size": ("64", "pretrain"),
    "pretrain.num_layers": ("2", "pretrain"),
    "pretrain.trainer": ("{}", "pretrain"),
    "sft.trainer": ("{}", "sft"),
    "sample.num_prompts": ("9", "sample"),
    "sample.num_responses": ("3", "sample"),
    "sample.max_new_tokens": ("9", "sample"),
    "sample.temperature": ("0.5", "sample"),
    "sample.top_p": ("0.5", "sample"),
    "label.store": ("elsewhere.db", "label"),
    "label.campaign": ("imported-one", "prompts"),
    "label.overlap": ("2", "label"),
    "label.overlap_share": ("0.9", "label"),
    "label.guidelines": ("Rank.", "label"),
    "label.crew": ("{careful: 1}", "label"),
    "reward.trainer": ("{}", "reward"),
    "reward.members": (4, "reward"),
    "reward.ensemble": ("seeds", "reward"),
    "reward.combine": ("minimum", "reward"),
    "reward.caution": (0.5, "reward"),
    "reward.labelers": ("alike", "preferences"),
    "label.held_out_labelers": (0.2, "preferences"),
    "label.groups": ("{nurses: [ann, bob]}", "report"),
    "reward.loss": ("davidson", "reward"),
    "reward.margin": ("0.5", "reward"),
    "reward.label_smoothing": ("0.1", "reward"),
    "reward.centering": ("0.01", "reward"),
    "reward.nu": ("0.5", "reward"),
    "certify.probes": ("50", "certify"),
    "certify.curve": ("[0.5]", "certify"),
    "dpo.beta": ("0.3", "dpo"),
    "dpo.loss": ("ipo", "dpo"),
    "dpo.label_smoothing": ("0.1", "dpo"),
    "dpo.nu": ("0.5", "dpo"),
    "dpo.length_normalised": ("true", "dpo"),
    "dpo.implementation": ("trl", "dpo"),
    "dpo.trainer": ("{}", "dpo"),
    "ppo.trainer": ("{total_episodes: 64}", "ppo"),
    "ppo.allow_unfit_reward": ("true", "ppo"),
    "rloo.allow_unfit_reward": ("true", "rloo"),
    "rloo.trainer": ("{beta: 0.1}", "rloo"),
    "rejection.trainer": ("{learning_rate: 0.1}", "rejection"),
    "rejection.num_samples": ("4", "rejection"),
    "rejection.quantile": ("0.5", "rejection"),
    "ppo.memory": ("shared", "ppo"),
    "ppo.reward": ("json:dumps", "ppo"),
    "ppo.reward_alone": ("true", "ppo"),
    "ppo.monitor": ("true", "reward"),
    "ppo.held_out_prompts": ("5", "ppo"),
    "evaluate.num_prompts": ("9", "evaluate"),
    "evaluate.best_of": ("[2]", "evaluate"),
    "evaluate.judge": ("reward", "evaluate"),
    "evaluate.endpoint": ("{url: http://127.0.0.1:1/v1, model: m}", "evaluate"),
    "evaluate.people_may_stop": ("true", "judge"),
    "evaluate.num_samples_shown": ("1", "evaluate"),
    "evaluate.people_judgements": ("5", "judge"),
    "probe.probes": ("[length]", "probe"),
    "probe.limit": ("30", "probe"),
    "probe.verbatim_words": ("9", "probe"),
    "sft.written": ("true", "sft"),
}
# Read elsewhere than in a stage's settings: where things lie, how fast, who mirrors, what is on.
ELSEWHERE = {
    "name",
    "runs_dir",
    "threads",
    "sample.batch_size",
    "label.min_rankings",
    "sft.guidelines",
    "evaluate.guidelines",
    "certify.enabled",
    "probe.enabled",
    "dpo.enabled",
    "ppo.enabled",
    "rloo.enabled",
    "rejection.enabled",
    "wandb",
    "ledger",
    "card",
}


def test_a_labeler_belongs_to_one_group() -> None:
    quickstart = ROOT / "pipelines/configs/quickstart.yaml"
    with pytest.raises(ValueError, match="bob stands in groups twice"):
        load_config(quickstart, ["label.groups={nurses: [ann, bob], doctors: [bob]}"])
    grouped, plain = (
        load_config(quickstart, words) for words in (["label.groups={nurses: [ann]}"], [])
    )
    settings = {stage.name: stage.settings for stage in STAGES}
    differ = {name for name, one in settings.items() if one(grouped) != one(plain)}
    assert differ == {"judge", "report"}, "naming groups trains nothing again"


def test_a_training_in_bfloat16_is_another_where_its_weights_are_float32() -> None:
    """The fingerprints of other trainings stay what they were."""
    plain = load_config(ROOT / "pipelines/configs/quickstart.yaml").model
    assert "trained_in" not in plain.of_training()
    half = plain.model_copy(update={"dtype": "bfloat16"})
    assert half.of_training() == {
        **plain.of_training(),
        "dtype": "bfloat16",
        "trained_in": "float32",
    }
    adapted = half.model_copy(update={"lora": LoraSettings()})
    assert "trained_in" not in adapted.of_training()


def test_every_field_changes_some_stage_or_is_known_to_be_read_elsewhere() -> None:
    fields = set()
    for name, field in RunConfig.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        if name in {"wandb", "card", "ledger"} or inner is None:
            fields.add(name)
        else:
            fields |= {f"{name}.{key}" for key in inner}
    assert fields == set(CHANGES) | ELSEWHERE
    base = load_config(ROOT / "pipelines/configs/quickstart.yaml")
    by_name = {stage.name: stage for stage in STAGES}
    for key, (value, stage) in CHANGES.items():
        override = [f"{key}={value}"]
        if key == "prompts.source":
            override += ["model.path=a/b", "labelers=people"]
        if key == "label.campaign":
            override += ["model.path=a/b", "labelers=imported", "label.store=x.db"]
        if key == "evaluate.endpoint":
            override += ["evaluate.judge=endpoint"]
        if key == "ppo.reward_alone":
            override += ["ppo.reward=json:dumps"]
        if key == "reward.nu":
            override += ["reward.loss=davidson"]
        if key in {"reward.ensemble", "reward.combine", "reward.caution"}:
            override += ["reward.members=3"]
        if key == "reward.caution":
            override += ["reward.combine=mean-minus-std"]
        if key == "dpo.nu":
            override += ["dpo.loss=davidson"]
        changed = load_config(ROOT / "pipelines/configs/quickstart.yaml", override)
        assert by_name[stage].settings(changed) != by_name[stage].settings(base), key


def test_stages_can_be_turned_off() -> None:
    path = ROOT / "pipelines/configs/quickstart.yaml"
    for name in ("certify", "dpo", "ppo"):
        stages = {one.name for one in stages_of(load_config(path, [f"{name}.enabled=false"]))}
        assert name not in stages


def test_an_override_of_a_config_is_checked_as_in_a_file() -> None:
    config = load_config(ROOT / "pipelines/configs/quickstart.yaml")
    changed = override_config(config, ["certify.probes=50", "certify.curve=[0.5]"])
    assert (changed.certify.probes, changed.certify.curve) == (50, (0.5,))
    assert override_config(changed, []) == changed
    with pytest.raises(ValueError, match="did you mean 'probes'"):
        override_config(config, ["certify.probe=50"])


def test_other_thresholds_are_another_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = next(stage for stage in STAGES if stage.name == "certify")
    config = load_config(ROOT / "pipelines/configs/quickstart.yaml")
    before = stage.outside(config, {})
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "other")
    assert stage.outside(config, {}) != before


def test_stages_are_in_an_order_in_which_each_finds_what_it_needs() -> None:
    seen: set[str] = set()
    for stage in STAGES:
        assert set(stage.needs) <= seen, stage.name
        seen.add(stage.name)
    with pytest.raises(ValueError, match=re.escape("no stage named 'rewrad': choose from prompts")):
        check_stage("rewrad")


def test_dpo_as_it_was_before_it_had_losses_keeps_its_settings() -> None:
    """So that a run of an earlier version is not trained again."""
    dpo = load_config(ROOT / "pipelines/configs/quickstart.yaml").dpo
    assert set(dpo.settings()) == {"enabled", "beta", "trainer"}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["loss=ipo", "label_smoothing=0.1"], "label_smoothing goes with sigmoid and robust, not"),
        (["loss=robust", "nu=1"], "nu goes with plackett-luce and davidson: robust has no ties"),
        (["label_smoothing=0.5"], "label_smoothing must lie in 0 to 0.5"),
        (["loss=davidson", "implementation=trl"], "TRL has no davidson loss"),
        (["label_smoothing=0.1", "implementation=trl"], "TRL ignores label_smoothing with sigmoid"),
        (["loss=ipo", "implementation=trl"], "set dpo.length_normalised: true"),
        (
            ["loss=robust", "length_normalised=true", "implementation=trl"],
            "TRL's robust loss is not per token",
        ),
    ],
)
def test_settings_of_dpo_that_would_not_be_read_are_refused(
    overrides: list[str], said: str
) -> None:
    path = ROOT / "pipelines/configs/quickstart.yaml"
    with pytest.raises(ValueError, match=re.escape(said)):
        load_config(path, [f"dpo.{override}" for override in overrides])


MINE = ["labelers=people", "prompts.source=mine.jsonl", "model.path=mine"]
ENDPOINT = ["evaluate.judge=endpoint", "evaluate.endpoint.url=http://127.0.0.1:1/v1"]


def test_what_an_endpoint_is_asked_decides_and_how_patiently_does_not() -> None:
    path = ROOT / "pipelines/configs/quickstart.yaml"
    (evaluate,) = (stage for stage in STAGES if stage.name == "evaluate")

    def settings(*more: str) -> Json:
        return evaluate.settings(load_config(path, [*ENDPOINT, "evaluate.endpoint.model=m", *more]))

    base = settings()
    assert base["judge"] == "endpoint:m"
    decides = {"model": "other", "temperature": "1.0", "max_tokens": "9", "url": "http://x/v1"}
    for key, value in decides.items():
        assert settings(f"evaluate.endpoint.{key}={value}") != base, key
    assert settings("evaluate.guidelines=Which is shorter?") != base
    patience = {
        "key_variable": "A_KEY",
        "timeout_seconds": "1",
        "retries": "0",
        "concurrency": "1",
        "max_unusable": "0.5",
    }
    for key, value in patience.items():
        assert settings(f"evaluate.endpoint.{key}={value}") == base, key
    fields = set(EndpointConfig.model_fields)
    assert fields == decides.keys() | patience.keys()


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["evaluate.judge=endpoint"], "judge: endpoint and the section endpoint"),
        ([ENDPOINT[1], "evaluate.endpoint.model=m"], "judge: endpoint and the section endpoint"),
        ([*ENDPOINT, "evaluate.endpoint.url=ftp://x"], "evaluate.endpoint.url"),
        (ENDPOINT, "evaluate.endpoint.model"),
        (["evaluate.judge=monitor"], "monitor needs the one that ppo.monitor trains"),
        (["evaluate.best_of=[1]"], "evaluate.best_of.0"),
        ([*MINE, "evaluate.judge=preference"], "evaluate.judge: preference does not know these"),
        ([*MINE, "labelers=simulated"], "simulated labelers do not know these prompts"),
        ([*MINE, "prompts.source=stories"], "set label.crew.preference to stories"),
    ],
)
def test_a_judge_that_cannot_judge_is_refused(overrides: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        load_config(ROOT / "pipelines/configs/quickstart.yaml", overrides)


def test_a_preference_may_judge_what_it_knows() -> None:
    path = ROOT / "pipelines/configs/quickstart.yaml"
    asked = "evaluate.judge=preference"
    assert judge_name(load_config(path, [asked])) == "built-in"
    own = [*MINE, asked, "label.crew.preference=mine:preference"]
    assert judge_name(load_config(path, own)) == "mine:preference"
    assert judge_name(load_config(path, MINE)) == "reward"
    told = [*MINE, "prompts.source=stories", "label.crew.preference=stories"]
    assert judge_name(load_config(path, told)) == "stories"


def test_the_monitor_may_judge_where_there_is_one() -> None:
    path = ROOT / "pipelines/configs/quickstart.yaml"
    config = load_config(path, ["evaluate.judge=monitor", "ppo.monitor=true"])
    assert judge_name(config) == "monitor"
