"""The names and arguments of TRL 1.12's PPO: a script of its documentation runs with the import
changed, and every setting does something or is refused by name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tiny_models import EOS, PAD, parameters, policy, quiet_arguments, reward_model, save, tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    HfArgumentParser,
)

from rlhf.data.identity import Json
from rlhf.models.decoding import Continuation
from rlhf.models.training import CHECKPOINTING
from rlhf.policy import rollout
from rlhf.policy.ppo import PPOConfig, PPOTrainer
from rlhf.policy.ppo_batches import prompts_from
from rlhf.policy.ppo_models import PolicyAndValue, SharedTrunk
from rlhf.policy.rollout import PromptIds
from rlhf.reward.scorer import Scorer

ROWS = [[5 + n, 9, 11][: 1 + n % 3] for n in range(11)]
METRICS = {
    "eps",
    "objective/kl",
    "objective/entropy",
    "objective/non_score_reward",
    "objective/rlhf_reward",
    "objective/scores",
    "policy/approxkl_avg",
    "policy/clipfrac_avg",
    "loss/policy_avg",
    "loss/value_avg",
    "val/clipfrac_avg",
    "policy/entropy_avg",
    "val/ratio",
    "val/ratio_var",
    "val/num_eos_tokens",
    "lr",
    "episode",
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("models")
    return (
        str(save(policy(300, dtype=torch.float32), folder / "policy")),
        str(save(reward_model(300, seed=4, dtype=torch.float32), folder / "reward")),
    )


def test_a_script_of_trls_documentation_runs(tmp_path: Path, folders: tuple[str, str]) -> None:
    """As in `examples/scripts/ppo/ppo.py`, its arguments from a command line."""
    sft, reward = folders
    line = (
        f"--output_dir {tmp_path} --sft_model_path {sft} --reward_model_path {reward} "
        "--learning_rate 3e-3 --num_ppo_epochs 1 --num_mini_batches 1 --stop_token eos "
        "--per_device_train_batch_size 4 --gradient_accumulation_steps 2 --total_episodes 16 "
        "--response_length 6 --local_rollout_forward_batch_size 4 --missing_eos_penalty 1.0 "
        "--num_sample_generations 1 --eval_strategy steps --eval_steps 1 --report_to none "
        "--use_cpu --save_strategy no"
    )
    kinds: Any = [PPOConfig]
    (training_args,) = HfArgumentParser(kinds).parse_args_into_dataclasses(line.split())
    tokenizer_ = AutoTokenizer.from_pretrained(sft, padding_side="left")
    value_model = AutoModelForSequenceClassification.from_pretrained(
        training_args.reward_model_path, num_labels=1
    )
    reward_model_ = AutoModelForSequenceClassification.from_pretrained(
        training_args.reward_model_path, num_labels=1
    )
    policy_ = AutoModelForCausalLM.from_pretrained(training_args.sft_model_path)
    before = parameters(policy_)
    ref_policy = AutoModelForCausalLM.from_pretrained(training_args.sft_model_path)
    dataset = Dataset.from_dict({"input_ids": ROWS})
    trainer = PPOTrainer(
        args=training_args,
        processing_class=tokenizer_,
        model=policy_,
        ref_model=ref_policy,
        reward_model=reward_model_,
        value_model=value_model,
        train_dataset=dataset,
        eval_dataset=Dataset.from_dict({"input_ids": ROWS[:3]}),
        peft_config=None,
    )
    trainer.train()
    trainer.save_model(training_args.output_dir)
    shown = trainer.generate_completions()
    assert [set(row) >= {"query", "model response", "score"} for row in shown] == [True] * 3
    assert set(trainer.state.log_history[0]) >= METRICS
    assert [row["episode"] for row in trainer.state.log_history if "eps" in row] == [8, 16]
    saved = AutoModelForCausalLM.from_pretrained(training_args.output_dir)
    assert not torch.equal(parameters(saved), before)
    assert torch.equal(parameters(saved), parameters(trainer.trained.policy))


def trainer_in(folder: Path, **changes: Any) -> PPOTrainer:
    given = {
        "ref_model": None,
        "reward_model": reward_model(300, seed=4, dtype=torch.float32),
        "value_model": reward_model(300, seed=4, dtype=torch.float32),
        "train_dataset": Dataset.from_dict({"input_ids": ROWS}),
        "processing_class": tokenizer(),
    }
    for name in ("model", *given, "peft_config", "eval_dataset", "data_collator", "callbacks"):
        if name in changes:
            given[name] = changes.pop(name)
    settings = {
        "total_episodes": 16,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 2,
        "num_ppo_epochs": 2,
        "response_length": 8,
        "learning_rate": 3e-3,
        **changes,
    }
    given.setdefault("model", policy(300, dtype=torch.float32))
    return PPOTrainer(
        args=PPOConfig(**quiet_arguments(folder, **settings)),
        **given,
    )


def trained(folder: Path, **changes: Any) -> torch.Tensor:
    made = trainer_in(folder, **changes)
    made.train()
    return parameters(made.trained)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> torch.Tensor:
    return trained(tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(
    "change",
    [
        {"total_episodes": 8},
        {"num_ppo_epochs": 1},
        {"num_mini_batches": 2},
        {"response_length": 4},
        {"temperature": 1.3},
        {"missing_eos_penalty": 2.0},
        {"length_penalty": 0.1},
        {"reward_clip": 0.01},
        {"whiten_rewards": True},
        {"whiten_advantages": False},
        {"kl_coef": 0.5},
        {"kl_estimator": "k3"},
        {"kl_target": 1.0, "kl_horizon": 20},
        {"target_kl": 1e-9},
        {"cliprange": 0.001},
        {"vf_coef": 0.5},
        {"cliprange_value": 0.001},
        {"entropy_coef": 0.1},
        {"gamma": 0.5},
        {"lam": 0.1},
        {"max_grad_norm": 0.01},
        {"seed": 9},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_setting_changes_what_is_learned(
    tmp_path: Path, plain: torch.Tensor, change: Json
) -> None:
    found = trained(tmp_path, **change)
    assert torch.isfinite(found).all()
    assert not torch.equal(found, plain)


@pytest.mark.parametrize(
    ("given", "passes", "parts"),
    [
        ({}, 1, 4),
        ({"num_ppo_epochs": 4}, 4, 1),  # as TRL's scripts ask for it
        ({"num_ppo_epochs": 3, "num_mini_batches": 2}, 3, 2),
        ({"num_mini_batches": 8}, 1, 8),
        ({"gradient_accumulation_steps": 1, "per_device_train_batch_size": 6}, 1, 2),
        ({"gradient_accumulation_steps": 1, "per_device_train_batch_size": 7}, 1, 1),
    ],
)
def test_a_rollout_is_four_steps_of_one_pass_unless_told_otherwise(
    tmp_path: Path, given: Json, passes: int, parts: int
) -> None:
    sizes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2}
    config = PPOConfig(**quiet_arguments(tmp_path, **sizes | given))
    assert (config.num_ppo_epochs, config.num_mini_batches) == (passes, parts)
    assert config.updates_per_rollout == passes * parts
    assert config.mini_batch_size == config.rollout_size // parts


def test_the_update_that_exceeds_target_kl_is_one_of_those_it_dropped(tmp_path: Path) -> None:
    made = trainer_in(tmp_path, num_ppo_epochs=4, target_kl=1e-9)
    made.train()
    log = [row for row in made.state.log_history if "eps" in row]
    # The first of four is on policy; the second has moved.
    assert [row["policy/updates_skipped"] for row in log] == [0.75, 0.75]
    assert log[0]["grad_norm"] == 0  # of the last update


def test_the_same_settings_learn_the_same(tmp_path: Path, plain: torch.Tensor) -> None:
    assert torch.equal(trained(tmp_path, stop_token="eos"), plain)
    assert torch.equal(trained(tmp_path, reward_clip=1e6, kl_limit=None), plain)


def test_recomputed_activations_learn_the_same(tmp_path: Path, plain: torch.Tensor) -> None:
    assert torch.allclose(trained(tmp_path, **{CHECKPOINTING: True}), plain, atol=1e-6)


def test_another_token_may_end_a_response(tmp_path: Path) -> None:
    usual = trainer_in(tmp_path)
    prompts = usual.prompts[:8]
    rows = usual.roller.roll(usual.trained, prompts, 0).rows
    second = int(rows.input_ids[0][rows.response_mask[0].bool()][1])
    found = trainer_in(tmp_path, stop_token_id=second)
    again = found.roller.roll(found.trained, prompts, 0)
    assert int(again.rows.response_mask[0].sum()) == 2
    assert float(again.finished[0]) == 1


def test_kl_horizon_says_how_fast_the_coefficient_moves(tmp_path: Path) -> None:
    slow, fast = (trainer_in(tmp_path, kl_target=1.0, kl_horizon=horizon) for horizon in (1000, 20))
    for made in (slow, fast):
        made.train()
    # The policy starts at its reference: KL 0 is 100 % too little, clipped to -20 %.
    first = [1 - 0.2 * 8 / horizon for horizon in (1000, 20)]
    assert slow.controller.coef < 0.05 * first[0] * 1.01
    assert fast.controller.coef < slow.controller.coef


def test_the_rollout_is_read_and_sampled_in_batches_of_the_size_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampled: list[int] = []
    begin = Continuation.__init__

    def counted(self: Any, model: Any, prompts: Any, *arguments: Any) -> None:
        sampled.append(len(prompts))
        begin(self, model, prompts, *arguments)

    monkeypatch.setattr(Continuation, "__init__", counted)
    for size, expected in ((None, [8, 8]), (3, [3, 3, 2, 3, 3, 2])):
        sampled.clear()
        trained(tmp_path, local_rollout_forward_batch_size=size)
        assert sampled == expected
    monkeypatch.setattr(rollout, "SAMPLED_AT_ONCE", 5)
    sampled.clear()
    made = trainer_in(tmp_path, eval_dataset=Dataset.from_dict({"input_ids": ROWS}))
    assert len(made.generate_completions()) == 11
    assert sampled == [5, 5, 1]


def test_how_often_samples_are_kept(tmp_path: Path) -> None:
    asked = Dataset.from_dict({"input_ids": ROWS[:2]})
    for times, episodes in ((0, []), (1, [0, 32]), (2, [0, 16, 32])):
        made = trainer_in(
            tmp_path, total_episodes=32, eval_dataset=asked, num_sample_generations=times
        )
        made.train()
        assert [row["episode"] for row in made.watch.history] == episodes
        assert [row["episode"] for row in made.watch.samples] == [e for e in episodes for _ in "ab"]


def test_logs_and_saves_count_rollouts(tmp_path: Path) -> None:
    made = trainer_in(
        tmp_path, total_episodes=32, logging_steps=2, save_strategy="steps", save_steps=3
    )
    made.train()
    assert [row["step"] for row in made.state.log_history if "eps" in row] == [4, 8]
    assert (tmp_path / "checkpoints" / "checkpoint-6").exists()


def test_logs_and_saves_may_be_shares_of_the_training(tmp_path: Path) -> None:
    made = trainer_in(
        tmp_path, total_episodes=32, logging_steps=0.5, save_strategy="steps", save_steps=0.7
    )
    made.train()
    assert [row["step"] for row in made.state.log_history if "eps" in row] == [4, 8]
    saved = sorted(one.name for one in (tmp_path / "checkpoints").iterdir())
    assert saved == ["checkpoint-6", "checkpoint-8"]


def test_a_warm_up_counts_rollouts(tmp_path: Path) -> None:
    settings: Json = {"lr_scheduler_type": "constant_with_warmup", "total_episodes": 32}
    for steps, expected in ((2, [0.5, 1.0, 1.0, 1.0]), (0.5, [0.5, 1.0, 1.0, 1.0]), (0, [1.0] * 4)):
        made = trainer_in(tmp_path, warmup_steps=steps, num_ppo_epochs=2, **settings)
        made.train()
        rates = [row["lr"] / 3e-3 for row in made.state.log_history if "eps" in row]
        assert rates == pytest.approx(expected)


def test_a_model_that_brings_its_values_has_no_dropout_either(tmp_path: Path) -> None:
    """Or the first update would not be on policy."""
    shaky: Json = {"dtype": torch.float32, "attention_dropout": 0.5}
    joint = PolicyAndValue(policy(300, **shaky), reward_model(300, **shaky))
    made = trainer_in(tmp_path, model=joint, value_model=None, num_ppo_epochs=1)
    made.train()
    assert made.state.log_history[0]["policy/approxkl_avg"] < 1e-8


def test_models_come_from_the_paths_in_the_config(
    tmp_path: Path, folders: tuple[str, str], plain: torch.Tensor
) -> None:
    sft, reward = folders
    found = trained(
        tmp_path,
        model=None,
        reward_model=None,
        value_model=None,
        sft_model_path=sft,
        reward_model_path=reward,
    )
    assert torch.equal(found, plain)


def test_a_policy_is_no_reward_model(tmp_path: Path, folders: tuple[str, str]) -> None:
    """Its head would be a random one."""
    given = {"reward_model": None, "value_model": None, "reward_model_path": folders[0]}
    refused(tmp_path, "is no reward model: it has no score head", **given)


def test_without_a_value_model_a_head_on_the_policy_learns_the_values(tmp_path: Path) -> None:
    made = trainer_in(tmp_path, value_model=None)
    made.train()
    assert isinstance(made.trained, SharedTrunk)
    assert made.trained.value_head.weight.abs().sum() > 0


def test_adapters_are_trained_and_the_reference_is_the_policy_without(tmp_path: Path) -> None:
    start = parameters(policy(300, dtype=torch.float32))
    made = trainer_in(tmp_path, peft_config=LoraConfig(r=4, task_type="CAUSAL_LM"))
    assert made.ref_model is None
    made.train()
    log = [row["objective/kl"] for row in made.state.log_history if "eps" in row]
    assert log[0] == 0
    assert log[1] != 0
    bare = made.trained.policy.unload()
    assert torch.equal(parameters(bare), start)


def two_adapters(active: str) -> Any:
    """A policy with the adapters `learner`, which changes nothing yet, and `fixed`."""
    torch.manual_seed(1)
    model = get_peft_model(
        policy(300, dtype=torch.float32), LoraConfig(r=4), adapter_name="learner"
    )
    model.add_adapter("fixed", LoraConfig(r=4, init_lora_weights=False))
    model.set_adapter(active)
    return model


@pytest.mark.parametrize("active", ["learner", "fixed"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_reference_adapter_is_the_reference(tmp_path: Path, active: str, *, shared: bool) -> None:
    names = {"model_adapter_name": "learner", "ref_adapter_name": "fixed"}
    values: Json = {"value_model": None} if shared else {}
    made = trainer_in(tmp_path, model=two_adapters(active), **names, **values)
    made.train()
    assert made.state.log_history[0]["objective/kl_k3"] > 0.1
    for name, moves in (("fixed", False), ("learner", True)):
        before, after = (
            torch.cat([w.flatten() for n, w in model.named_parameters() if f".{name}." in n])
            for model in (two_adapters(active), made.trained.policy)
        )
        assert torch.equal(before, after) != moves


def test_without_a_reference_adapter_the_base_is_the_reference(tmp_path: Path) -> None:
    made = trainer_in(tmp_path, model=two_adapters("fixed"), model_adapter_name="learner")
    made.train()
    assert made.state.log_history[0]["objective/kl"] == 0


def test_adapters_that_are_not_there_are_refused(tmp_path: Path) -> None:
    both = "its adapters are fixed, learner"
    refused(tmp_path, both, model=two_adapters("learner"), ref_adapter_name="sft")
    refused(tmp_path, both, model=two_adapters("learner"), model_adapter_name="sft")
    refused(tmp_path, "it has no adapters", ref_adapter_name="sft")
    asleep = two_adapters("learner").requires_grad_(False)
    refused(tmp_path, "no weight of the policy is to be trained", model=asleep)
    same = "which is the adapter that is trained"
    refused(tmp_path, same, model=two_adapters("fixed"), ref_adapter_name="fixed")
    given: Json = {"ref_model": policy(300), "ref_adapter_name": "fixed"}
    refused(tmp_path, "both given", model=two_adapters("learner"), **given)


def test_a_collator_and_a_text_data_set_give_the_same_prompts() -> None:
    rows = Dataset.from_dict({"input_ids": ROWS})
    plain_ = prompts_from(rows, tokenizer())
    assert [list(one.ids) for one in plain_] == ROWS
    assert prompts_from(rows, tokenizer(), collator=DataCollatorWithPadding(tokenizer())) == plain_
    assert prompts_from([PromptIds("a", (3,))], tokenizer())[0].id == "a"
    padded = {"input_ids": [[0, 0, 5, 9], [6, 9, 11, 0]], "attention_mask": [[0, 0, 1, 1], [1] * 4]}
    found = prompts_from(Dataset.from_dict(padded), tokenizer())
    assert [one.ids for one in found] == [(5, 9), (6, 9, 11, 0)]
    texts = ["How do I boil an egg?", "I do not know."]
    found = prompts_from(Dataset.from_dict({"prompt": texts}), tokenizer(), processes=1)
    assert [list(one.ids) for one in found] == [tokenizer()(text)["input_ids"] for text in texts]


def test_the_number_of_tokenising_processes_is_passed_on() -> None:
    class Watched(list[Json]):
        asked: Any = "nothing"

        def map(self, function: Any, num_proc: Any) -> list[Json]:
            Watched.asked = num_proc
            return [function(row) for row in self]

    prompts_from(Watched([{"prompt": "Name three fruits."}]), tokenizer(), processes=3)
    assert Watched.asked == 3


def test_where_pad_is_eos_nothing_changes(tmp_path: Path, plain: torch.Tensor) -> None:
    import copy

    same = copy.deepcopy(tokenizer())
    same.pad_token = same.eos_token
    made = trainer_in(tmp_path)
    twin = PPOTrainer(
        args=made.config,
        processing_class=same,
        model=policy(300, dtype=torch.float32),
        reward_model=reward_model(300, seed=4, dtype=torch.float32),
        value_model=reward_model(300, seed=4, dtype=torch.float32),
        train_dataset=Dataset.from_dict({"input_ids": ROWS}),
    )
    assert twin.roller.pad_token_id == twin.roller.eos_token_id == EOS
    twin.train()
    assert torch.allclose(parameters(twin.trained), plain, atol=1e-6)


def test_a_padding_token_that_no_model_knows_changes_nothing(
    tmp_path: Path, plain: torch.Tensor
) -> None:
    """TRL's scripts add `[PAD]` and resize nothing."""
    import copy

    added = copy.deepcopy(tokenizer())
    added.add_special_tokens({"pad_token": "[PAD]"})
    assert added.pad_token_id == 300
    made = trainer_in(tmp_path, processing_class=added)
    made.train()
    assert torch.allclose(parameters(made.trained), plain, atol=1e-6)


def refused(tmp_path: Path, says: str, **changes: Any) -> None:
    with pytest.raises(ValueError, match=says):
        trainer_in(tmp_path, **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"batch_size": 5}, "batch_size follows from the other sizes and is 8, got 5"),
        ({"mini_batch_size": 5}, "mini_batch_size follows .* is 8, got 5"),
        ({"local_batch_size": 5}, "local_batch_size follows .* is 8, got 5"),
        ({"local_mini_batch_size": 5}, "local_mini_batch_size follows .* is 8, got 5"),
        ({"micro_batch_size": 5}, "micro_batch_size follows .* is 4, got 5"),
        ({"num_total_batches": 5}, "num_total_batches follows .* is 2, got 5"),
        ({"stop_token": "stop"}, "stop_token must be eos or nothing, got 'stop'"),
        ({"stop_token": "eos", "stop_token_id": 3}, "stop_token and stop_token_id are both"),
        ({"ds3_gather_for_generation": False}, "without DeepSpeed"),
        ({"load_best_model_at_end": True, "save_strategy": "best"}, "give `held_out` a monitor"),
        ({"num_ppo_epochs": 2.5}, "num_ppo_epochs must be a whole number, got 2.5"),
        ({"num_mini_batches": "two"}, "num_mini_batches must be a whole number, got 'two'"),
        ({"max_steps": 3}, "max_steps is 3, and PPO counts episodes: give total_episodes"),
        ({"kl_target": 1.0, "kl_horizon": 1}, "could turn the sign of kl_coef"),
        ({"kl_estimator": "k2"}, "kl_estimator must be k1 or k3, got 'k2'"),
        ({"missing_eos_penalty": -1.0}, "missing_eos_penalty is taken off the score"),
        ({"kl_coef": -0.1}, "kl_coef must not be negative, got -0.1"),
        ({"lam": 1.5}, "lam must lie in 0 to 1, got 1.5"),
        ({"ptx_coef": 0.5}, "ptx_coef and ptx_dataset go together"),
        ({"response_length": 127}, r"7 of 11 prompts leave no room for 127 tokens .* of 128"),
        ({"model": None}, "there is no policy: give model, or sft_model_path"),
        ({"reward_model": None}, "PPO needs a reward: give reward_model, reward_function"),
        (
            {"train_dataset": [{"input_ids": [5, 999]}] * 9},
            "token 999, and the policy knows 300",
        ),
        ({"train_dataset": None}, "train_dataset is missing"),
        ({"train_dataset": [{"text": "a"}]}, "row 0 of the data set holds no prompt"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, changes: Json, says: str) -> None:
    refused(tmp_path, says, **changes)


def test_models_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    one = policy(300, dtype=torch.float32)
    refused(tmp_path, "model and ref_model are one object", model=one, ref_model=one)
    judge = reward_model(300, dtype=torch.float32)
    refused(tmp_path, "are one object", value_model=judge, reward_model=judge)
    small = reward_model(40, dtype=torch.float32)
    refused(tmp_path, "knows 40 tokens and the tokenizer 300", reward_model=small)
    refused(
        tmp_path, "the value model knows 40 tokens and the policy writes 300", value_model=small
    )
    refused(tmp_path, "no score head and cannot be the reward model", reward_model=one)
    several = reward_model(300, dtype=torch.float32)
    several.config.num_labels = 2
    refused(tmp_path, "gives 2 numbers for a text", reward_model=several)
    capped = policy(300, dtype=torch.float32)
    capped.config.final_logit_softcapping = 30.0
    refused(tmp_path, "changes its logits after the output layer", model=capped)


def test_the_reward_model_may_be_anything_that_scores_ids(tmp_path: Path) -> None:
    class LikesShort:
        def score(
            self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]
        ) -> list[float]:
            return [-float(len(ids)) for ids in responses]

    made = trainer_in(tmp_path, reward_model=LikesShort())
    made.train()
    row = made.state.log_history[0]
    assert row["objective/rewards"] == pytest.approx(-row["objective/response_tokens"])
    judge = Scorer(reward_model(300, seed=4, dtype=torch.float32), PAD)
    assert isinstance(trainer_in(tmp_path, reward_model=judge).roller.rewards, Scorer)


def test_a_score_for_each_response_is_asked_for(tmp_path: Path) -> None:
    class Forgets:
        def score(self, prompts: Any, responses: Any) -> list[float]:
            return [0.0] * (len(responses) - 1)

    made = trainer_in(tmp_path, reward_model=Forgets(), value_model=None)
    with pytest.raises(ValueError, match=r"gave scores of shape \(7,\) for 8 responses"):
        made.train()


def test_a_script_may_end_with_a_push(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As TRL's do: `trainer.push_to_hub(dataset_name=...)`."""
    made = trainer_in(tmp_path)
    sent: list[Json] = []

    class Hub:
        def upload_folder(self, **named: Any) -> None:
            sent.append(named)

    monkeypatch.setattr(transformers.trainer, "hf_api", Hub)
    monkeypatch.setattr(made, "hub_model_id", "someone/policy")
    made.push_to_hub(dataset_name="descriptiveness")
    assert sent[0]["folder_path"] == made.args.output_dir
    folder = Path(str(made.args.output_dir))
    assert "descriptiveness" in (folder / "README.md").read_text()
    pushed = AutoModelForCausalLM.from_pretrained(folder)
    assert torch.equal(parameters(pushed), parameters(made.trained.policy))
