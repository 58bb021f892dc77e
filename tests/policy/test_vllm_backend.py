"""Sampling with vLLM, against a stand-in for its engine with weights of its own: TRL's code talks
to it, and what it samples shows whether it was given the policy's weights.
"""

import copy
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from ppo_run import trainer_in
from tiny_models import policy, quiet_arguments
from trl.generation import vllm_generation

from rlhf.data.identity import Json
from rlhf.models.generation import Completion
from rlhf.models.training import fit, newest_checkpoint
from rlhf.policy import vllm_backend
from rlhf.policy.backends import Agreement
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.ppo_models import PolicyAndValue
from rlhf.policy.vllm_backend import VLLMBackend, merged_weights


class StandIn:
    """What TRL asks of `vllm.LLM`, with a copy of the model as it was when the engine was made."""

    def __init__(self, model: Any) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        runner = SimpleNamespace(model=self)
        worker = SimpleNamespace(driver_worker=SimpleNamespace(model_runner=runner))
        self.llm_engine = SimpleNamespace(model_executor=worker)
        self.pushes, self.asked = 0, list[Any]()

    def load_weights(self, weights: Iterable[tuple[str, torch.Tensor]]) -> None:
        own = dict(self.model.named_parameters())
        for name, value in weights:
            own[name].data.copy_(value)

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
            said.append({token: SimpleNamespace(rank=1, logprob=float(logprobs[token]))})
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
    monkeypatch.setattr(vllm_generation.VLLMGeneration, "_init_vllm", start)
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


def test_lora_trains_with_an_engine(tmp_path: Path, engines: list[StandIn]) -> None:
    """The engine holds no adapters: it is given the weights that the adapters make."""
    from tiny_models import PAD, reward_model, tokenizer

    from rlhf.policy.ppo import PPOTrainer
    from rlhf.policy.rollout import PromptIds
    from rlhf.reward.scorer import Scorer

    dtype = torch.float64
    base = policy(300, dtype=dtype)
    plain = copy.deepcopy(base)
    adapted = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear"))
    logged: list[Json] = []
    trainer = PPOTrainer(
        args=PPOConfig(
            **quiet_arguments(
                tmp_path,
                use_vllm=True,
                learning_rate=0.03,
                total_episodes=12,
                per_device_train_batch_size=4,
                response_length=4,
                temperature=1.0,
                num_sample_generations=0,
                kl_limit=None,
            )
        ),
        processing_class=tokenizer(),
        model=PolicyAndValue(adapted, reward_model(300, seed=4, dtype=dtype)),
        reward_model=Scorer(reward_model(300, seed=4, dtype=dtype), PAD),
        train_dataset=[PromptIds(f"p{n}", (5 + n, 9)) for n in range(4)],
    )
    engines[0].model = plain.requires_grad_(False)
    fit(trainer, log=logged.append, progress=lambda *_: None)
    gaps = [row["rollout/logprob_gap"] for row in logged if "rollout/logprob_gap" in row]
    assert len(gaps) == 3
    assert max(gaps) < 1e-9
    assert max(row["objective/kl_k3"] for row in logged if "objective/kl_k3" in row) > 1e-3


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
    found.note([Completion((3, 1), True)], read[:1], mask[:1])  # the policy itself sampled
    assert found.numbers == {}
    assert found.too_far(0.0) is None


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
