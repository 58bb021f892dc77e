"""Sampling with vLLM, against a stand-in for its engine with weights of its own: TRL's code talks
to it, and what it samples shows whether it was given the policy's weights.
"""

import copy
import math
import os
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from accelerate import Accelerator  # type: ignore[import-untyped]
from peft import IA3Config, LoraConfig, get_peft_model
from ppo_run import trainer_in
from tiny_models import EOS, PAD, policy, quiet_arguments, reward_model, save, tokenizer
from transformers import AutoModelForCausalLM
from trl.generation import vllm_generation

from rlhf.data.identity import Json
from rlhf.models.checkpoint_folders import newest_checkpoint
from rlhf.models.generation import Completion
from rlhf.models.training import fit
from rlhf.policy import vllm_backend
from rlhf.policy.backends import Agreement
from rlhf.policy.ppo import PPOTrainer
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.ppo_models import PolicyAndValue
from rlhf.policy.ppo_training import train_ppo
from rlhf.policy.processes import Processes
from rlhf.policy.rollout import PromptIds
from rlhf.policy.vllm_backend import VLLMBackend, check_adapters, merged_weights
from rlhf.reward.scorer import Scorer


class StandIn:
    """What TRL asks of `vllm.LLM`, with a copy of the model as it was when the engine was made."""

    def __init__(self, model: Any) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        runner = SimpleNamespace(model=self, reload_weights=self.reload_weights)
        worker = SimpleNamespace(driver_worker=SimpleNamespace(model_runner=runner))
        core = SimpleNamespace(shutdown=self.shutdown)
        self.llm_engine = SimpleNamespace(model_executor=worker, engine_core=core)
        self.pushes, self.asked = 0, list[Any]()
        self.ended = False
        self.broken = False
        self.reloads = 0

    def reload_weights(self, weights_iterator: Iterable[tuple[str, torch.Tensor]]) -> None:
        self.reloads += 1
        self.load_weights(weights_iterator)

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        own = dict(self.model.named_parameters())
        for name, value in weights:
            assert not value.requires_grad
            own[name].data.copy_(value)

    def shutdown(self) -> None:
        self.ended = True

    def reset_prefix_cache(self) -> None:
        self.pushes += 1

    @torch.inference_mode()
    def generate(self, prompts: list[Json], sampling_params: Any, use_tqdm: bool) -> list[Any]:
        assert not use_tqdm
        self.asked.append(sampling_params)
        return [self._one(row["prompt_token_ids"], sampling_params) for row in prompts]

    def _one(self, prompt: list[int], how: Any) -> Any:
        ids, said = list(prompt), list[Any]()
        while len(said) < how.max_tokens:
            logits = self.model(input_ids=torch.tensor([ids])).logits[0, -1]
            logprobs = (logits / how.temperature).log_softmax(-1)
            token = int(torch.multinomial(logprobs.exp(), 1))
            logprob = math.nan if self.broken else float(logprobs[token])
            said.append({token: SimpleNamespace(rank=1, logprob=logprob)})
            ids.append(token)
            if token in how.stop_token_ids:
                break
        drawn = SimpleNamespace(token_ids=ids[len(prompt) :], logprobs=said)
        return SimpleNamespace(prompt_token_ids=prompt, outputs=[drawn])


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    """The engines that are made, in order, in place of vLLM's."""
    made: list[StandIn] = []

    def start(self: Any) -> None:
        self.llm = StandIn(self.model)
        self._llm_weights_sleeping = False
        made.append(self.llm)

    monkeypatch.setattr(vllm_backend, "is_vllm_available", lambda: True)
    monkeypatch.setattr(vllm_backend.Engine, "_init_vllm", start)
    monkeypatch.setattr(vllm_generation, "SamplingParams", SimpleNamespace, raising=False)
    return made


VLLM: Json = {"use_vllm": True, "learning_rate": 0.03, "target_kl": None, "kl_target": None}


def test_the_engine_follows_the_policy(tmp_path: Path, engines: list[StandIn]) -> None:
    logged: list[Json] = []
    trainer = trainer_in(tmp_path, VLLM)
    before = copy.deepcopy(engines[0].model.state_dict())
    fit(trainer, log=logged.append, progress=lambda *_: None)
    gaps = [row["rollout/logprob_gap_max"] for row in logged if "rollout/logprob_gap_max" in row]
    assert len(gaps) == 5
    assert max(gaps) < 1e-9
    # Before each of five rollouts, and before the last look at the held-out prompts.
    assert engines[0].pushes == 6
    now = engines[0].model.state_dict()
    assert any((now[name] - one).abs().max() > 0.1 for name, one in before.items())
    asked = engines[0].asked[0]
    assert (asked.stop_token_ids, asked.ignore_eos, asked.max_tokens) == ([1], True, 5)


def test_weights_are_copied_in_place_on_a_gpu_and_reloaded_on_a_cpu(
    tmp_path: Path, engines: list[StandIn]
) -> None:
    """On a CPU vLLM keeps them packed, and a copy into what they were would fail."""
    engine: Any = trainer_in(tmp_path, VLLM).roller.backend.engine  # type: ignore[union-attr]
    for device, reloads in (("cuda", 0), ("cpu", 1)):
        for one in engine.model.parameters():
            one.data.add_(1.0)
        engine.accelerator = SimpleNamespace(device=torch.device(device))
        engine.sync_weights()
        own = dict(engines[0].model.named_parameters())
        assert all(torch.equal(own[name], one) for name, one in engine.model.named_parameters())
        assert engines[0].reloads == reloads
    assert engines[0].pushes == 2


@pytest.mark.parametrize("fails", [False, True])
def test_the_engine_is_ended_with_the_training(
    fails: bool, tmp_path: Path, engines: list[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By itself it would hold its memory while the policies are compared."""

    def gone(*_: Any, **__: Any) -> None:
        raise RuntimeError("the engine is gone")

    save(policy(300, dtype=torch.float32), tmp_path / "policy")
    save(reward_model(300, seed=4, dtype=torch.float32), tmp_path / "reward")
    settings = {**VLLM, "total_episodes": 8, "response_length": 4, "vllm_logprob_gap_limit": 1.0}
    asked: Any = (
        tmp_path / "policy",
        tmp_path / "reward",
        [PromptIds(f"p{n}", (5 + n, 9)) for n in range(4)],
        tmp_path / "model",
        quiet_arguments(tmp_path, **settings),
    )
    how: Json = {"dtype": "float32", "lora": None}
    if fails:
        monkeypatch.setattr(StandIn, "generate", gone)
    with pytest.raises(RuntimeError, match="is gone") if fails else nullcontext():
        train_ppo(*asked, **how, log=lambda _: None, progress=lambda *_: None)
    assert engines[0].ended


def test_what_is_drawn_ends_where_it_says(tmp_path: Path, engines: list[StandIn]) -> None:
    trainer = trainer_in(tmp_path, {**VLLM, "temperature": 0.7, "response_length": 12})
    assert trainer.roller.backend is not None
    drawn = trainer.roller.backend.complete([[5, 9]] * 40, [0] * 40)
    assert {one.finished for one in drawn} == {True, False}
    assert all(one.finished == (one.ids[-1] == EOS) for one in drawn)
    asked = engines[0].asked[0]
    assert (asked.temperature, asked.logprobs, asked.n) == (0.7, 0, 1)


@pytest.mark.parametrize("mode", ["colocate", "server"])
def test_the_engine_is_made_as_asked(tmp_path: Path, engines: list[StandIn], mode: str) -> None:
    places: Json = {"vllm_server_base_url": "http://127.0.0.1:9"} if mode == "server" else {}
    own = {"gpu_memory_utilization": 0.4, "enable_sleep_mode": True, "max_model_length": 77}
    asked = {**places, **{f"vllm_{name}": value for name, value in own.items()}}
    trainer = trainer_in(tmp_path, {**VLLM, "vllm_mode": mode, **asked})
    assert engines
    engine = trainer.roller.backend.engine  # type: ignore[union-attr]
    found = {name: getattr(engine, name) for name in own}
    assert (engine.mode, found) == (mode, own)
    assert engine.server_base_url == places.get("vllm_server_base_url")


def test_an_engine_left_behind_stops_the_training(
    tmp_path: Path, engines: list[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VLLMBackend, "moved", lambda _: None)  # the planted bug
    trainer = trainer_in(tmp_path, VLLM)
    with pytest.raises(FloatingPointError, match=r"vllm_logprob_gap_limit \(0.1\)") as raised:
        fit(trainer, log=lambda _: None, progress=lambda *_: None)
    assert engines[0].pushes == 1
    saved = newest_checkpoint(Path(str(trainer.args.output_dir)))
    assert saved is not None
    assert saved.name in str(raised.value)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_adapters_are_merged_on_copies(dtype: torch.dtype) -> None:
    base = policy(40, dtype=dtype)
    names = set(base.state_dict())
    settings = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(base, settings, adapter_name="policy")
    model.add_adapter("other", settings)
    torch.manual_seed(2)
    for name, one in model.named_parameters():
        if "lora_B" in name:
            one.data.normal_()
    kept = {name: one.clone() for name, one in model.named_parameters()}
    pushed = {name: one.clone() for name, one in merged_weights(model)}
    assert all(torch.equal(one, kept[name]) for name, one in model.named_parameters())
    model.delete_adapter("other")
    merged = dict(model.merge_and_unload().named_parameters())
    assert pushed.keys() == merged.keys() <= names
    assert all(torch.equal(pushed[name], one) for name, one in merged.items())


def with_adapters(
    folder: Path, engines: list[StandIn], dtype: torch.dtype = torch.float64, **changes: Any
) -> PPOTrainer:
    """A trainer of a policy with adapters, and an engine that knows the policy without them."""
    base = policy(300, dtype=dtype)
    plain = copy.deepcopy(base)
    judge = reward_model(300, seed=4, dtype=dtype)
    settings: Json = {
        "use_vllm": True,
        "learning_rate": 0.03,
        "total_episodes": 12,
        "per_device_train_batch_size": 4,
        "response_length": 4,
        "temperature": 1.0,
        "num_sample_generations": 0,
        "kl_limit": None,
        **changes,
    }
    made = PPOTrainer(
        args=PPOConfig(**quiet_arguments(folder, **settings)),
        processing_class=tokenizer(),
        model=PolicyAndValue(
            get_peft_model(base, LoraConfig(r=4, target_modules="all-linear")), judge
        ),
        reward_model=Scorer(copy.deepcopy(judge), PAD),
        train_dataset=[PromptIds(f"p{n}", (5 + n, 9)) for n in range(4)],
    )
    engines[0].model = plain.requires_grad_(False)
    return made


def test_lora_trains_with_an_engine(tmp_path: Path, engines: list[StandIn]) -> None:
    """The engine holds no adapters: it is given the weights that the adapters make."""
    logged: list[Json] = []
    fit(with_adapters(tmp_path, engines), log=logged.append, progress=lambda *_: None)
    gaps = [row["rollout/logprob_gap"] for row in logged if "rollout/logprob_gap" in row]
    assert len(gaps) == 3
    assert max(gaps) < 1e-9
    assert max(row["objective/kl_k3"] for row in logged if "objective/kl_k3" in row) > 1e-3


def test_what_is_pushed_is_not_rounded_by_autocast(tmp_path: Path, engines: list[StandIn]) -> None:
    trainer = with_adapters(tmp_path, engines, torch.float32, bf16=True)
    adapted = trainer.trained.policy
    torch.manual_seed(2)
    for name, one in adapted.named_parameters():
        if "lora_B" in name:
            one.data.normal_()
    trainer.roller.complete(trainer.trained, trainer.prompts, [1, 2, 3, 4])
    merged = dict(copy.deepcopy(adapted).merge_and_unload().named_parameters())
    pushed = dict(engines[0].model.named_parameters())
    assert all(torch.equal(pushed[name], one) for name, one in merged.items())


PRECISIONS = [
    (torch.float32, {}, "float32"),
    (torch.float32, {"bf16": True}, "bfloat16"),
    (torch.bfloat16, {}, "bfloat16"),
    (torch.float64, {}, "auto"),
]


@pytest.mark.parametrize(("dtype", "changes", "expected"), PRECISIONS)
def test_the_engine_computes_in_the_trainers_precision(
    dtype: torch.dtype,
    changes: Json,
    expected: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """vLLM by itself reads float32 weights in half precision."""

    class AskedError(Exception):
        """Ends the making of the engine."""

    def started(**asked: Any) -> None:
        raise AskedError(asked["dtype"])

    monkeypatch.setattr(vllm_backend, "is_vllm_available", lambda: True)
    monkeypatch.setattr(vllm_generation, "is_vllm_available", lambda: True)
    monkeypatch.setattr(vllm_generation, "LLM", started, raising=False)
    args = PPOConfig(**quiet_arguments(tmp_path, use_vllm=True, **changes))
    accelerator = Accelerator(cpu=True)
    with pytest.raises(ValueError, match="load it with from_pretrained"):
        VLLMBackend(args, policy(300, dtype=dtype), accelerator, tokenizer(), 1)
    save(policy(300, dtype=dtype), tmp_path / "policy")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "policy", dtype=dtype)
    with pytest.raises(AskedError, match=f"^{expected}$"):
        VLLMBackend(args, loaded, accelerator, tokenizer(), 1)
    assert vllm_generation.LLM is started
    assert "LOCAL_RANK" not in os.environ  # or the next training would be a distributed one


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (LoraConfig(target_modules=["q_proj"], use_dora=True), "q_proj has peft.tuners.lora"),
        (LoraConfig(target_modules=["embed_tokens"]), r"embed_tokens has .*\.Embedding"),
        (LoraConfig(target_modules=["q_proj"], lora_bias=True), "q_proj has peft.tuners.lora"),
        (IA3Config(target_modules=["q_proj"], feedforward_modules=[]), "the policy has IA3"),
    ],
    ids=["dora", "embedding", "bias", "ia3"],
)
def test_adapters_that_could_not_be_pushed_are_refused(settings: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_adapters(get_peft_model(policy(40, attention_bias=True), settings))


def test_a_layer_that_is_trained_whole_is_pushed_as_it_is_now() -> None:
    settings = LoraConfig(r=4, target_modules=["q_proj"], modules_to_save=["lm_head"])
    model = get_peft_model(policy(40), settings, adapter_name="policy")
    model.add_adapter("other", settings)
    for name, one in model.named_parameters():
        if "modules_to_save" in name:
            one.data.fill_(2.0 if ".policy." in name else 3.0)
    check_adapters(model)
    pushed = dict(merged_weights(model))
    assert pushed.keys() == dict(policy(40).named_parameters()).keys()
    assert (pushed["lm_head.weight"] == 2).all()


def test_adapters_that_are_off_are_not_added() -> None:
    model = get_peft_model(policy(40), LoraConfig(r=4, target_modules=["q_proj"]))
    for name, one in model.named_parameters():
        if "lora_B" in name:
            one.data.fill_(1.0)
    plain = dict(policy(40).named_parameters())
    on = dict(merged_weights(model))
    with model.disable_adapter():
        off = dict(merged_weights(model))
    assert all(torch.equal(value, plain[name]) for name, value in off.items())
    assert not torch.equal(
        on["model.layers.0.self_attn.q_proj.weight"], off["model.layers.0.self_attn.q_proj.weight"]
    )


def test_the_gap_by_hand() -> None:
    found = Agreement()
    read = torch.tensor([[0.0, -1.0, -2.0], [0.0, 0.0, -0.5]])
    mask = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    drawn = [Completion((3, 1), True, (-1.25, -2.0)), Completion((4,), False, (-0.75,))]
    found.note(drawn, read, mask)
    assert found.numbers["rollout/logprob_gap"] == pytest.approx((0.25 + 0 + 0.25) / 3)
    assert found.numbers["rollout/logprob_gap_max"] == pytest.approx(0.25)
    assert found.too_far(0.2) is None
    assert "0.167 nats" in (found.too_far(0.1) or "")
    found.note([Completion((3, 1), True, (math.nan, -2.0)), drawn[1]], read, mask)
    assert "log-probabilities of the engine that samples are not numbers" in (
        found.too_far(0.1) or ""
    )
    found.note([Completion((3, 1), True)], read[:1], mask[:1])  # the policy itself sampled
    assert found.numbers == {}
    assert found.too_far(0.0) is None


def test_every_process_judges_the_gaps_of_all() -> None:
    """One is 0.4 nats off on one token, the other agrees on three: 0.1 in the mean, for both."""

    class Both(Processes):
        """The two as one sees them: what the other holds is added."""

        def summed(self, values: torch.Tensor) -> torch.Tensor:
            return values + (torch.tensor([0.0, 3.0]) if values[1] == 1 else torch.tensor([0.4, 1]))

        def highest(self, values: torch.Tensor) -> torch.Tensor:
            return values.clamp(min=0.4)

    off, agrees = Agreement(), Agreement()
    off.note([Completion((4,), False, (-0.6,))], torch.tensor([[-1.0]]), torch.ones(1, 1))
    agrees.note([Completion((4, 5, 6), False, (-1.0,) * 3)], -torch.ones(1, 3), torch.ones(1, 3))
    assert off.too_far(0.2)
    assert agrees.too_far(0.05) is None
    for one in (off, agrees):
        one.over(Both(), torch.device("cpu"))
        assert one.numbers["rollout/logprob_gap"] == pytest.approx(0.1)
        assert one.numbers["rollout/logprob_gap_max"] == pytest.approx(0.4)
        assert one.too_far(0.2) is None
        assert one.too_far(0.05)


def test_log_probs_that_are_no_numbers_stop_the_training(
    tmp_path: Path, engines: list[StandIn]
) -> None:
    trainer = trainer_in(tmp_path, VLLM)
    engines[0].broken = True
    with pytest.raises(FloatingPointError, match="of the engine that samples are not numbers"):
        fit(trainer, log=lambda _: None, progress=lambda *_: None)


def test_prompts_fit_into_what_the_engine_reads(tmp_path: Path, engines: list[StandIn]) -> None:
    with pytest.raises(ValueError, match=r"in a context of 7: the longest has 3"):
        trainer_in(tmp_path, {**VLLM, "vllm_max_model_length": 7})
    assert engines == []
    assert trainer_in(tmp_path, {"vllm_max_model_length": 7})  # it samples itself


def test_without_vllm_it_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"pip install 'rlhf-pipeline\[vllm\]'"):
        trainer_in(tmp_path, VLLM)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"vllm_mode": "remote"}, "colocate or server"),
        ({"vllm_gpu_memory_utilization": 1.5}, "in 0 to 1"),
        ({"vllm_server_base_url": "http://localhost:8000"}, "vllm_mode: server"),
        ({"vllm_logprob_gap_limit": 0.0}, "above 0"),
    ],
)
def test_settings_that_make_no_sense(tmp_path: Path, changes: Json, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        PPOConfig(**quiet_arguments(tmp_path, **changes))
