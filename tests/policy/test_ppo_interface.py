"""The names and arguments of TRL 1.12's PPO: a script of its documentation runs with the import
changed, and every setting does something or is refused by name.
"""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from datasets import Dataset
from ppo_hands import ROWS, refused, trained, trainer_in
from tiny_models import EOS, parameters, policy, reward_model, save, tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    HfArgumentParser,
)

from rlhf.data.identity import Json
from rlhf.models.training import CHECKPOINTING
from rlhf.policy.ppo import PPOConfig, PPOTrainer
from rlhf.policy.ppo_batches import prompts_from
from rlhf.policy.rollout import PromptIds

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
    added = copy.deepcopy(tokenizer())
    added.add_special_tokens({"pad_token": "[PAD]"})
    assert added.pad_token_id == 300
    made = trainer_in(tmp_path, processing_class=added)
    made.train()
    assert torch.allclose(parameters(made.trained), plain, atol=1e-6)


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
        ({"save_strategy": "best"}, "save_strategy best is not supported, it would never save"),
        ({"auto_find_batch_size": True}, "auto_find_batch_size .* anew on moved weights"),
        ({"neftune_noise_alpha": 5.0}, "neftune_noise_alpha .* would move ratios by chance"),
        ({"enable_jit_checkpoint": True}, "enable_jit_checkpoint .* save amid a rollout"),
        ({"fsdp": True}, "fsdp is not supported, it would cut up a policy"),
        ({"num_ppo_epochs": 2.5}, "num_ppo_epochs must be a whole number, got 2.5"),
        ({"num_mini_batches": "two"}, "num_mini_batches must be a whole number, got 'two'"),
        ({"response_length": 2.5}, "response_length must be a whole number, got 2.5"),
        ({"total_episodes": "1e4"}, "total_episodes must be a number, got '1e4'"),
        ({"vf_coef": None}, "vf_coef must be a number, got None"),
        ({"gradient_accumulation_steps": -1}, "gradient_accumulation_steps must be above 0"),
        ({"kl_coef": float("nan")}, "kl_coef must not be negative, got nan"),
        ({"temperature": float("inf")}, "temperature must be finite, got inf"),
        ({"label_smoothing_factor": 0.1}, "label_smoothing_factor .* of a loss over labels"),
        (
            {"lr_scheduler_type": "reduce_lr_on_plateau", "eval_strategy": "steps"},
            "lr_scheduler_type reduce_lr_on_plateau is not supported",
        ),
        ({"world_size": 2}, "world_size follows from the other sizes and is 1, got 2"),
        ({"eval_dataset": {"a": [], "b": []}}, r"several data sets \(a, b\)"),
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
        ({"train_dataset": [PromptIds("a", ())]}, "prompts are none, or some without a token"),
        ({"stop_token_id": 300}, "the token 300, which is none of the 300 that the policy knows"),
        ({"stop_token_id": -1}, "the token -1, which is none of the 300"),
        ({"train_dataset": None}, "train_dataset is missing"),
        ({"train_dataset": [{"text": "a"}]}, "row 0 of the data set holds no prompt"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, changes: Json, says: str) -> None:
    refused(tmp_path, says, **changes)


def test_the_evaluations_of_the_trainer_itself_are_not_asked_for(tmp_path: Path) -> None:
    """They would want an eval data set of another kind, and stopped the training."""
    made = trainer_in(tmp_path, eval_on_start=True, eval_strategy="steps", eval_steps=1)
    made.train()
    assert made.state.global_step == 4


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
