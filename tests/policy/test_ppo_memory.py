"""Three ways to hold policy, value model and reference: they read the same numbers."""

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from tiny_models import (
    EOS,
    PAD,
    gradients,
    parameters,
    policy,
    quiet_arguments,
    reward_model,
    save,
    tokenizer,
)

from rlhf.data.identity import Json
from rlhf.models.batching import make_rows, response_logprobs
from rlhf.models.loading import add_adapters, load_policy, load_scorer, save_whole
from rlhf.models.lora import LoraSettings
from rlhf.models.training import CHECKPOINTING
from rlhf.policy import token_logprobs as tokens
from rlhf.policy.adapters import one_base
from rlhf.policy.held_out import Watch
from rlhf.policy.memory import explain_out_of_memory, is_out_of_memory
from rlhf.policy.ppo_config import PPOConfig
from rlhf.policy.ppo_models import PolicyAndValue, SharedTrunk, state_values, trained_state
from rlhf.policy.ppo_training import train_ppo
from rlhf.policy.rollout import PromptIds
from rlhf.reward.scorer import Scorer

LORA = LoraSettings(r=4, alpha=8)
PROMPTS = [PromptIds(f"p{n}", (5 + n, 9, 11)[: 1 + n % 3]) for n in range(11)]
ANSWERS = [[6, 3, EOS], [9, 17, 20, 2, EOS], [EOS], [31, 8, 8, 8]]
ROWS = make_rows([p.ids for p in PROMPTS[:4]], ANSWERS, PAD)


def trained_with_lora(reward: Any, seed: int = 7) -> Any:
    """The reward model as its stage leaves it: adapters moved, merged; the head trained whole."""
    torch.manual_seed(seed)
    adapted = add_adapters(reward, LORA, "SEQ_CLS")
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn_like(weight) * 0.2)
    return adapted.merge_and_unload()


def pair(vocab_size: int = 40, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
    """A policy, and a reward model that LoRA made of the same weights."""
    actor = policy(vocab_size, seed=3, dtype=dtype)
    judge = reward_model(vocab_size, seed=4, dtype=dtype)
    judge.model.load_state_dict(actor.model.state_dict())
    judge = trained_with_lora(judge)
    judge.config.reward_shift = 0.4
    return actor, judge


def layout(memory: str) -> Any:
    """One of the three, in float64."""
    actor, judge = pair(dtype=torch.float64)
    if memory == "separate":
        return PolicyAndValue(actor, judge)
    return SharedTrunk(actor) if memory == "shared" else one_base(actor, judge, LORA)


def test_logprobs_and_entropies_by_their_definitions() -> None:
    model = policy()
    hidden = model.model(
        input_ids=ROWS.input_ids,
        attention_mask=ROWS.attention_mask,
        position_ids=ROWS.position_ids,
    ).last_hidden_state
    found, entropies = tokens.token_logprobs(model.get_output_embeddings(), hidden, ROWS, 0.7)
    assert torch.allclose(found, response_logprobs(model, ROWS, 0.7), atol=1e-12)
    everything = torch.log_softmax(model.lm_head(hidden) / 0.7, -1)
    whole = torch.nn.functional.pad(-(everything.exp() * everything).sum(-1)[:, :-1], (1, 0))
    assert torch.allclose(entropies, whole * ROWS.response_mask, atol=1e-12)


def test_chunks_change_neither_numbers_nor_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for limit in (1 << 24, 80):  # two tokens at a time, made again in the backward pass
        monkeypatch.setattr(tokens, "CPU_CHUNK_LOGITS", limit)
        model = policy()
        read = SharedTrunk(model).read(ROWS, 0.7, bonus=True)
        (read.logprobs * 2 + read.entropies).sum().backward()
        gradient = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
        found.append((read.logprobs.detach(), read.entropies.detach(), gradient))
    for whole, chunked in zip(*found, strict=True):
        assert torch.allclose(whole, chunked, atol=1e-12)


def test_no_tensor_of_batch_length_and_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest tensor that a pass keeps for its backward stays far below B x T x V."""
    monkeypatch.setattr(tokens, "CPU_CHUNK_LOGITS", 40_000)
    model = policy(20_000, dtype=torch.float32)
    rows = make_rows([(5,)] * 8, [[7] * 30] * 8, PAD)
    largest = 0

    def packed(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        if tensor.data_ptr() != model.lm_head.weight.data_ptr():
            largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(packed, lambda tensor: tensor):
        SharedTrunk(model).read(rows, 1.0).logprobs.sum().backward()
    assert largest < 8 * 31 * 20_000 / 50


def test_adapters_on_one_base_read_what_separate_models_read() -> None:
    actor, judge = pair()
    apart = PolicyAndValue(*pair())
    joint = one_base(actor, judge, LORA)
    with torch.no_grad():
        ours, theirs = joint.read(ROWS, 0.9), apart.read(ROWS, 0.9)
    assert torch.allclose(ours.logprobs, theirs.logprobs, atol=1e-5)
    assert torch.allclose(ours.values, theirs.values, atol=1e-4)
    scores = Scorer(pair()[1], PAD).score([p.ids for p in PROMPTS[:4]], ANSWERS)
    assert joint.score([p.ids for p in PROMPTS[:4]], ANSWERS) == pytest.approx(scores, abs=1e-4)


def test_the_reference_is_the_base_alone_and_only_two_adapters_learn() -> None:
    actor, judge = pair()
    start = response_logprobs(pair()[0], ROWS).detach()
    joint = one_base(actor, judge, LORA)
    before = {n: w.detach().clone() for n, w in joint.named_parameters()}
    optimizer = torch.optim.SGD([w for w in joint.parameters() if w.requires_grad], lr=0.5)
    for _ in range(2):
        read = joint.read(ROWS, 1.0)
        (read.logprobs.sum() + read.values.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    moved = {n for n, w in joint.named_parameters() if not torch.equal(before[n], w)}
    assert moved == set(trained_state(joint))
    assert all(".policy." in n or ".value." in n or n.startswith("value_head") for n in moved)
    assert any(".policy." in n for n in moved)
    assert any(".value." in n for n in moved)
    with torch.no_grad(), joint.as_reference():
        assert torch.equal(response_logprobs(joint.base, ROWS), start)
    with torch.no_grad():
        assert not torch.allclose(response_logprobs(joint.policy, ROWS), start, atol=1e-3)


def with_lora() -> Any:
    """A policy under adapters with its embeddings trained whole, values on its trunk."""
    settings = LoraConfig(r=4, target_modules="all-linear", modules_to_save=["embed_tokens"])
    return SharedTrunk(get_peft_model(pair()[0], settings))


@pytest.mark.parametrize("make", [lambda: one_base(*pair(), LORA), with_lora])
def test_a_reference_pass_that_fails_leaves_what_is_trained(make: Any) -> None:
    """What is saved then has to hold all of it: running out of memory may happen there."""
    models = make()
    trained = trained_state(models).keys()
    with pytest.raises(MemoryError), models.as_reference():
        raise MemoryError
    assert trained_state(models).keys() == trained


@pytest.mark.parametrize("memory", ["separate", "shared", "adapters"])
def test_recomputed_activations_give_the_same_gradients(memory: str) -> None:
    """In the layout `adapters` a layer is made again when another adapter is on."""
    found = []
    for again in (False, True):
        made = layout(memory).train()
        if memory == "adapters":
            torch.manual_seed(5)
            for name, weight in made.named_parameters():
                if "lora_B.policy" in name:
                    weight.data.normal_(std=0.1)
        made.gradient_checkpointing_enable()
        if not again:
            made.gradient_checkpointing_disable()
        kept = 0

        def packed(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(packed, lambda tensor: tensor):
            read = made.read(ROWS, 1.0)
        (read.logprobs.sum() + (read.values**2).sum()).backward()
        found.append((gradients(made), kept))
    (plain, whole), (anew, few) = found
    assert plain.abs().max() > 0
    assert torch.allclose(plain, anew, atol=1e-9)
    assert few < whole / 2


def test_a_reward_model_that_is_no_adapter_is_refused() -> None:
    actor, _ = pair()
    other = reward_model(seed=4, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"no adapter on the policy .* set ppo.memory to separate"):
        one_base(actor, other, LORA)


def test_the_shared_trunk_starts_with_values_of_zero_and_learns_them() -> None:
    model = SharedTrunk(policy())
    read = model.read(ROWS, 1.0)
    assert not read.values.any()
    (read.values.sum() - 3).abs().backward()
    assert model.value_head.weight.grad.abs().sum() > 0  # type: ignore[union-attr]
    assert torch.allclose(read.logprobs, response_logprobs(policy(), ROWS), atol=1e-12)


def test_values_of_the_state_before_each_token() -> None:
    model = reward_model(seed=4)
    found = state_values(model, ROWS, 0.3)
    whole = model.model(
        input_ids=ROWS.input_ids,
        attention_mask=ROWS.attention_mask,
        position_ids=ROWS.position_ids,
    ).last_hidden_state
    before = torch.nn.functional.pad(model.score(whole)[:, :-1, 0] - 0.3, (1, 0))
    assert torch.allclose(found, before * ROWS.response_mask, atol=1e-12)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    actor, judge = pair(300)
    save(actor, folder / "policy")
    save_whole(judge, tokenizer(), folder / "reward")
    return folder / "policy", folder / "reward"


@pytest.mark.parametrize("memory", ["separate", "shared", "adapters"])
def test_every_layout_trains_and_saves_plain_models(
    tmp_path: Path, folders: tuple[Path, Path], memory: Any
) -> None:
    logged: list[Json] = []
    settings = quiet_arguments(
        tmp_path,
        total_episodes=16,
        per_device_train_batch_size=8,
        num_ppo_epochs=2,
        response_length=5,
        temperature=1.0,
        learning_rate=1e-2,
    )
    train_ppo(
        *folders,
        PROMPTS,
        tmp_path / "model",
        settings,
        dtype="float32",
        lora=LORA,
        log=logged.append,
        progress=lambda *_: None,
        memory=memory,
    )
    assert logged[0]["objective/kl"] == 0
    assert logged[1]["objective/kl_k3"] > 0
    after = parameters(load_policy(tmp_path / "model"))
    assert not torch.allclose(after, parameters(load_policy(folders[0])), atol=1e-4)
    if memory == "separate":
        assert load_scorer(tmp_path / "value", PAD)
    else:
        assert "value_head.weight" in load_file(tmp_path / "value" / "value.safetensors")


@pytest.mark.parametrize("memory", ["separate", "shared", "adapters"])
def test_what_a_monitor_chose_is_saved_in_every_layout(
    tmp_path: Path,
    folders: tuple[Path, Path],
    memory: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It chose the start: the policy that is kept is the one that PPO began with, its values have
    learned nothing, and the last one stands apart.
    """
    monkeypatch.setattr(Watch, "best", property(lambda self: self.history[0]))
    train_ppo(
        *folders,
        PROMPTS,
        tmp_path / "model",
        quiet_arguments(
            tmp_path, total_episodes=16, per_device_train_batch_size=8, learning_rate=1e-2
        ),
        dtype="float32",
        lora=LORA,
        log=lambda _: None,
        progress=lambda *_: None,
        memory=memory,
        held_out=PROMPTS[:2],
        monitor=folders[1],
    )
    start = parameters(load_policy(folders[0]))
    assert torch.equal(parameters(load_policy(tmp_path / "model")), start)
    assert not torch.allclose(parameters(load_policy(tmp_path / "last")), start, atol=1e-4)
    if memory == "separate":
        first = parameters(load_scorer(folders[1], PAD))
        assert torch.equal(parameters(load_scorer(tmp_path / "value", PAD)), first)


def test_adapters_need_lora(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match=r"ppo.memory: adapters needs model.lora"):
        train_ppo(
            *folders,
            PROMPTS,
            tmp_path / "model",
            quiet_arguments(tmp_path, total_episodes=16),
            dtype="float32",
            lora=None,
            log=lambda _: None,
            progress=lambda *_: None,
            memory="adapters",
        )


def test_running_out_of_memory_names_three_settings_with_estimates(tmp_path: Path) -> None:
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: not enough memory: you tried"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    config = PPOConfig(**quiet_arguments(tmp_path, per_device_train_batch_size=8))
    said = str(explain_out_of_memory(config, PolicyAndValue(*pair(300)), 20_000))
    for name in (
        "per_device_train_batch_size 8 -> 4",
        "local_rollout_forward_batch_size 8 -> 2",
        "memory: adapters",
    ):
        assert name in said
    # 17 numbers of 4 bytes for each of 20,000 tokens, 32 wide, in 2 layers, for 4 rows fewer
    assert f"{17 * 4 * 20_000 * 32 * 2 * 4 / 2**20:.0f} MiB of activations" in said
    # 8 rows of 53 tokens over 300 words: as they come, and three times in float32
    assert f"Logits take {8 * 53 * 300 * 16 / 2**20:.0f} MiB at once" in said


@pytest.mark.parametrize(
    ("memory", "named"),
    [
        ("separate", ["memory: adapters in place of a value model apart", "{} true", "length 53"]),
        ("shared", ["{} true saves", "response_length 53 -> 26 saves"]),
        ("adapters", ["{} true saves", "response_length 53 -> 26 saves"]),
    ],
)
def test_what_cannot_be_lowered_is_not_advised(
    tmp_path: Path, memory: str, named: list[str]
) -> None:
    """One row, and LoRA already."""
    config = PPOConfig(**quiet_arguments(tmp_path, per_device_train_batch_size=1))
    model = layout(memory)
    if memory != "adapters":
        model.policy = add_adapters(model.policy, LORA, "CAUSAL_LM")
    said = str(explain_out_of_memory(config, model, 20_000))
    for one in named:
        assert one.format(f"{CHECKPOINTING}:") in said
    assert "-> 1 " not in said
    assert "trained weights" not in said
    # 16 of 17 numbers of 8 bytes for each of 20,000 tokens, 32 wide, in 2 layers
    assert f"{16 * 8 * 20_000 * 32 * 2 / 2**20:.0f} MiB of activations, for" in said


def test_a_micro_batch_of_a_large_vocabulary_is_read_in_chunks() -> None:
    """As `hub.yaml` has it, 8 responses of 384 tokens over 152,000: their logits are made again,
    not kept, and a chunk takes no more than 2 GiB, in bfloat16 and three times in float32.
    """
    at_once = tokens.logits_at_once(on_gpu=True)
    assert 800 < at_once // 152_000 < 8 * 384
    assert at_once * (2 + 12) < 2 * 2**30
