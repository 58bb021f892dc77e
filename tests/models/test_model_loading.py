"""Loading and saving: one sentence for what cannot be loaded, and LoRA that changes nothing yet."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import PAD, SENTENCES, parameters, policy, reward_model, save, shape, tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    CohereConfig,
    Gemma2Config,
    GraniteConfig,
    LlamaForSequenceClassification,
    PreTrainedConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from rlhf.models.batching import hidden_states, make_rows, response_logprobs
from rlhf.models.conversation import CHAT_TEMPLATES
from rlhf.models.decoder import make_decoder, pretrain, train_tokenizer
from rlhf.models.loading import (
    add_adapters,
    load_policy,
    load_scorer,
    load_tokenizer,
    save_whole,
    score_head,
)
from rlhf.models.lora import LoraSettings
from rlhf.reward.scorer import score_rows

ROWS = make_rows([[5, 9, 11], [7]], [[6, 3, 1], [9, 17, 20, 2, 1]], PAD)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(policy(300, dtype=torch.float32), tmp_path_factory.mktemp("model"))


def one_sentence(error: pytest.ExceptionInfo[ValueError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("load", [load_policy, load_tokenizer])
def test_missing_folder(tmp_path: Path, load: object) -> None:
    with pytest.raises(ValueError, match="no model folder at") as error:
        load(tmp_path / "gone")  # type: ignore[operator]
    assert str(tmp_path / "gone") in one_sentence(error)


def test_folder_without_config(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a model folder: it has no config") as error:
        load_policy(tmp_path)
    assert str(tmp_path) in one_sentence(error)


def test_folder_without_tokenizer(tmp_path: Path) -> None:
    policy(dtype=torch.float32).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="has no tokenizer: save one beside") as error:
        load_tokenizer(tmp_path)
    assert str(tmp_path) in one_sentence(error)


def test_folder_without_weights(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((folder / "config.json").read_bytes())
    with pytest.raises(ValueError, match=r"cannot load the model in .*safetensors") as error:
        load_policy(tmp_path)
    one_sentence(error)


def test_weights_cut_short(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ValueError, match=f"cannot load the model in {broken}") as error:
        load_policy(broken)
    one_sentence(error)


def test_config_that_is_no_json(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="cannot load the model in") as error:
        load_policy(tmp_path)
    one_sentence(error)


@pytest.mark.parametrize("load", [load_policy, load_tokenizer])
def test_hub_name_without_network(load: object) -> None:
    with pytest.raises(ValueError, match="'some-team/some-model' is needed from the Hu") as error:
        load("some-team/some-model")  # type: ignore[operator]
    text = one_sentence(error)
    assert "HF_HUB_OFFLINE is set" in text
    assert text.endswith("or give a local folder as model.path")


def test_tokenizer_pads_on_the_left_and_gets_its_template(folder: Path, tmp_path: Path) -> None:
    assert load_tokenizer(folder).padding_side == "left"
    plain = train_tokenizer(SENTENCES, 280)
    plain.save_pretrained(tmp_path)
    policy(dtype=torch.float32).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"name one as model\.chat_template"):
        load_tokenizer(tmp_path)
    assert load_tokenizer(tmp_path, "chatml").chat_template == CHAT_TEMPLATES["chatml"]


def test_dropout_is_off_everywhere(tmp_path: Path) -> None:
    save(policy(300, dtype=torch.float32, attention_dropout=0.5), tmp_path)
    model = load_policy(tmp_path)
    model.train()
    first, second = response_logprobs(model, ROWS), response_logprobs(model, ROWS)
    assert torch.equal(first, second)


SMALL: Any = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}


@pytest.mark.parametrize(
    "config",
    [
        Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=0.05),
        GraniteConfig(**SMALL, logits_scaling=8.0),
        CohereConfig(**SMALL, logit_scale=0.0625),
    ],
    ids=lambda config: config.model_type,
)
def test_models_that_change_their_logits_are_refused(
    tmp_path: Path, config: PreTrainedConfig
) -> None:
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        ours = response_logprobs(model.eval(), ROWS)[:, -1]
        logits = model(ROWS.input_ids, attention_mask=ROWS.attention_mask).logits[:, -2]
    theirs = logits.log_softmax(-1).gather(1, ROWS.input_ids[:, -1:])[:, 0]
    assert not torch.allclose(ours, theirs, atol=1e-3)
    model.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="changes its logits after the output layer") as error:
        load_policy(tmp_path)
    one_sentence(error)


def test_saved_model_loads_the_same(folder: Path) -> None:
    assert torch.equal(
        parameters(load_policy(folder)), parameters(policy(300, dtype=torch.float32))
    )
    assert load_policy(folder, "bfloat16").dtype == torch.bfloat16


def nudge(adapted: torch.nn.Module) -> None:
    """Moves every trainable weight, as a training would."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight.add_(0.05 * torch.randn(weight.shape, generator=generator))


def test_lora_at_init_and_switched_off_is_the_base(folder: Path) -> None:
    model = load_policy(folder)
    with torch.no_grad():
        base = response_logprobs(model, ROWS)
        adapted = add_adapters(model, LoraSettings(r=4), "CAUSAL_LM")
        assert torch.equal(response_logprobs(adapted, ROWS), base)
        nudge(adapted)
        assert not torch.allclose(response_logprobs(adapted, ROWS), base, atol=0.01)
        with adapted.disable_adapter():
            assert torch.equal(response_logprobs(adapted, ROWS), base)


def test_merged_is_unmerged(folder: Path, tmp_path: Path) -> None:
    adapted = add_adapters(load_policy(folder), LoraSettings(r=4), "CAUSAL_LM")
    nudge(adapted)
    with torch.no_grad():
        expected = response_logprobs(adapted, ROWS)
        save_whole(adapted, tokenizer(), tmp_path)
        found = response_logprobs(load_policy(tmp_path), ROWS)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not (tmp_path / "adapter_config.json").exists()
    assert load_tokenizer(tmp_path).chat_template == tokenizer().chat_template


def test_only_adapters_train_at_a_policy(folder: Path) -> None:
    adapted = add_adapters(
        load_policy(folder), LoraSettings(r=4, target_modules=["q_proj"]), "CAUSAL_LM"
    )
    names = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert len(names) == 2 * 2  # A and B of one matrix in each of two layers
    assert all("q_proj.lora_" in name for name in names)


def test_score_head_is_trained_with_lora_and_reloads(tmp_path: Path) -> None:
    start = save(reward_model(300, dtype=torch.float32), tmp_path / "start")
    model = load_scorer(start, PAD)
    with torch.no_grad():
        states, base = hidden_states(model, ROWS), score_rows(model, ROWS)
        adapted = add_adapters(model, LoraSettings(r=4), "SEQ_CLS")
        assert torch.equal(hidden_states(adapted, ROWS), states)
        # The head is a copy at another address, where a dot product may be summed otherwise.
        assert torch.allclose(score_rows(adapted, ROWS), base, atol=1e-6)
    score_rows(adapted, ROWS).sum().backward()
    heads = [
        weight.grad
        for name, weight in adapted.named_parameters()
        if "score" in name and weight.requires_grad and weight.grad is not None
    ]
    assert len(heads) == 1
    assert heads[0].abs().max() > 0
    nudge(adapted)
    with torch.no_grad():
        expected = score_rows(adapted, ROWS)
        save_whole(adapted, tokenizer(), tmp_path / "saved")
        reloaded = load_scorer(tmp_path / "saved", PAD)
        assert torch.allclose(score_rows(reloaded, ROWS), expected, atol=1e-5)
    assert not torch.equal(score_head(reloaded).weight, reward_model(300).score.weight.float())
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert plain.config.num_labels == 1


def test_small_decoder_is_a_plain_llama_folder(tmp_path: Path) -> None:
    made = make_decoder(tokenizer(), hidden_size=64, num_layers=2, context_tokens=48)
    assert made.config.num_attention_heads == 2
    assert made.get_input_embeddings().weight is made.get_output_embeddings().weight
    logged: list[dict[str, float]] = []
    found = pretrain(
        SENTENCES,
        tmp_path / "model",
        {
            "output_dir": str(tmp_path / "checkpoints"),
            "num_train_epochs": 30,
            "per_device_train_batch_size": 4,
            "learning_rate": 3e-3,
            "logging_steps": 10,
            "report_to": "none",
            "use_cpu": True,
            "disable_tqdm": True,
            "save_strategy": "no",
        },
        vocab_size=300,
        hidden_size=32,
        num_layers=1,
        context_tokens=24,
        seed=1,
        log=logged.append,
        progress=lambda *_: None,
    )
    losses = [row["loss"] for row in logged if "loss" in row]
    assert losses[-1] < losses[0] - 1
    assert found["loss"] == losses[-1]
    loaded = load_policy(tmp_path / "model")
    assert found["parameters"] == loaded.num_parameters()
    limit = load_tokenizer(tmp_path / "model", "role-tokens")
    lengths = [len(limit(text, add_special_tokens=False)["input_ids"]) + 1 for text in SENTENCES]
    assert found["tokens"] == sum(min(length, 24) for length in lengths)
    with pytest.raises(ValueError, match="has no chat template"):
        load_tokenizer(tmp_path / "model")


def test_an_adapter_loads_with_its_head_and_is_refused_without(tmp_path: Path) -> None:
    base = save(reward_model(300, dtype=torch.float32), tmp_path / "base")
    adapted = add_adapters(load_scorer(base, PAD), LoraSettings(r=4), "SEQ_CLS")
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data += 0.05
    adapted.save_pretrained(tmp_path / "adapter")
    found = score_rows(load_scorer(tmp_path / "adapter", PAD), ROWS)
    assert torch.allclose(found, score_rows(adapted, ROWS), atol=1e-5)
    assert (found - score_rows(load_scorer(base, PAD), ROWS)).abs().max() > 0.01
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    save_file({k: v for k, v in load_file(weights).items() if "score" not in k}, weights)
    with pytest.raises(ValueError, match="was saved without its score head"):
        load_scorer(tmp_path / "adapter", PAD)


def test_a_language_model_gets_a_head_to_train_and_is_no_reward_model(folder: Path) -> None:
    assert score_head(load_scorer(folder, PAD)).out_features == 1
    with pytest.raises(ValueError, match=r"no score head of one label \(score\.weight\)"):
        load_scorer(folder, PAD, trained=True)


def test_an_encoder_with_a_decoder_is_no_base_of_a_reward_model(tmp_path: Path) -> None:
    """BART and T5 want prompt and response apart: the library failed in the first step."""
    made = T5Config(vocab_size=300, d_model=32, d_kv=16, d_ff=48, num_layers=1, num_heads=2)
    save(T5ForConditionalGeneration(made), tmp_path)
    with pytest.raises(ValueError, match=r"^T5ForSequenceClassification reads .* choose") as error:
        load_scorer(tmp_path, PAD)
    one_sentence(error)


def test_a_head_of_other_labels_is_drawn_anew_or_refused(tmp_path: Path) -> None:
    moods = LlamaForSequenceClassification(shape(300, num_labels=3))
    save(moods, tmp_path)
    found = load_scorer(tmp_path, PAD)
    assert score_head(found).out_features == found.config.num_labels == 1
    expected = hidden_states(moods.eval(), ROWS)
    assert torch.allclose(hidden_states(found, ROWS), expected, atol=1e-5)
    with pytest.raises(ValueError, match="no score head of one label"):
        load_scorer(tmp_path, PAD, trained=True)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))
    with pytest.raises(
        ValueError, match=r"proj\.weight has another shape than its config"
    ) as error:
        load_scorer(tmp_path, PAD)
    one_sentence(error)


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_that_are_no_numbers_are_refused_by_name(
    tmp_path: Path, bad: float, dtype: str
) -> None:
    model = reward_model(300, dtype=torch.float32)
    model.model.layers[1].mlp.up_proj.weight.data[2, 3] = bad
    save(model, tmp_path)
    with pytest.raises(ValueError, match=r"layers\.1\.mlp\.up_proj\.weight holds NaN or infinity"):
        load_scorer(tmp_path, PAD, dtype)


def test_a_type_that_nothing_trains_in_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="one of float32, bfloat16, float64, got 'float16'"):
        load_policy(folder, "float16")
