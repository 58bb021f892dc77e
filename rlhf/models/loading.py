"""Models from a folder or from the hub, by the names that transformers gives them."""

import math
import os
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from rlhf.models.conversation import ensure_chat_template, ensure_padding
from rlhf.models.lora import LoraSettings

# Where classifiers keep the layer that gives the score, by transformers' names.
SCORE_HEADS = ("score", "classifier", "classifier.out_proj", "classification_head.out_proj")
# What models do to their logits after the output layer, by the names of their settings: Gemma 2,
# RecurrentGemma, xLSTM, Granite, Cohere, Falcon-H1.
AFTER_OUTPUT = (
    "final_logit_softcapping",
    "logits_soft_cap",
    "output_logit_soft_cap",
    "logits_scaling",
    "logit_scale",
    "lm_head_multiplier",
)
ADAPTER_CONFIG = "adapter_config.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def torch_dtype(dtype: str) -> torch.dtype:
    """The type of this name. Raises ValueError for others: float16 is too narrow to train in."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    return DTYPES[dtype]


def trained_dtype(dtype: str, lora: LoraSettings | None) -> str:
    """What a model is held in while all of its weights are trained: float32 where bfloat16 is asked
    for, which has 8 bits, so that a step smaller than a 500th of a weight would leave it as it was.
    The Trainer's `bf16` lets the layers compute in bfloat16 all the same. Under LoRA the weights
    stay as asked for: they do not move, and the adapters are float32.

    Micikevicius et al. (2018), Mixed precision training, section 3.1.
    """
    return "float32" if lora is None and dtype == "bfloat16" else dtype


def device() -> torch.device:
    """Where single-process work runs: the first GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_tokenizer(source: str | Path, chat_template: str | None = None) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, with a chat template and a padding token, padding on the left.

    Raises ValueError in one sentence where the folder or the hub cannot give it.
    """
    tokenizer: PreTrainedTokenizerBase = _load(AutoTokenizer, source, "tokenizer")
    if chat_template is not None or not getattr(tokenizer, "chat_template", None):
        ensure_chat_template(tokenizer, chat_template)
    ensure_padding(tokenizer)
    tokenizer.padding_side = "left"
    return tokenizer


def pad_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that pads; every tokenizer from `load_tokenizer` has one."""
    assert isinstance(tokenizer.pad_token_id, int)
    return tokenizer.pad_token_id


def eos_token_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The id that ends a response; every tokenizer from `load_tokenizer` has one."""
    assert isinstance(tokenizer.eos_token_id, int)
    return tokenizer.eos_token_id


def load_policy(source: str | Path, dtype: str = "float32") -> PreTrainedModel:
    """A causal language model, dropout off. Raises ValueError for one whose log-probabilities we
    would get wrong.
    """
    model: PreTrainedModel = _load(AutoModelForCausalLM, source, "model", dtype=torch_dtype(dtype))
    check_logits(model)
    return without_dropout(model)


def check_is_one(model: Any) -> None:
    """Raises ValueError for an encoder with a decoder: here prompt and response are one row, which
    one model reads.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        raise ValueError(
            f"{type(model).__name__} reads a prompt with an encoder and a response with a decoder, "
            "and here one model reads both: choose a decoder (Llama, Qwen, GPT-2), or for rewards "
            "an encoder (BERT, DeBERTa)"
        )


def check_logits(model: Any) -> None:
    """Log-probabilities are made from the output layer alone, and some models cap or scale its
    logits. Raises ValueError for those.
    """
    settings = model.config.get_text_config()
    for name in AFTER_OUTPUT:
        if getattr(settings, name, None) not in {None, 1.0}:
            raise ValueError(
                f"{type(model).__name__} changes its logits after the output layer ({name} is "
                f"{getattr(settings, name)}), so that its log-probabilities would be wrong here: "
                "choose another model"
            )


def load_scorer(
    source: str | Path, pad_token_id: int, dtype: str = "float32", *, trained: bool = False
) -> PreTrainedModel:
    """A sequence classifier with one label, dropout off, that knows its padding token; an adapter
    is merged into its base. A head that is not there, or has other labels, is drawn anew, unless
    the model is to be a `trained` one.

    Raises ValueError for an adapter that was saved without a score head, for a trained model
    without one, for an encoder with a decoder, and for weights that are not numbers.
    """
    drawn: set[str] = set()
    if (Path(source) / ADAPTER_CONFIG).exists():
        model = _load_adapted_scorer(Path(source), dtype)
    else:
        model, loading = _load(
            AutoModelForSequenceClassification,
            source,
            "model",
            dtype=torch_dtype(dtype),
            num_labels=1,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        drawn = _drawn_anew(source, loading)
        if trained and drawn:
            raise ValueError(
                f"{source} is no reward model: it has no score head of one label "
                f"({min(drawn)}), so its scores would be random"
            )
    check_is_one(model)
    _check_numbers(model, source, besides=drawn)
    model.config.pad_token_id = pad_token_id
    return without_dropout(model)


def _drawn_anew(source: str | Path, loading: Any) -> set[str]:
    """The weights of the score head that transformers drew, as the files hold none or others.
    Raises ValueError where another weight has another shape.
    """
    reshaped = {name for name, *_ in loading["mismatched_keys"]}
    strange = {name for name in reshaped if not _is_of_head(name)}
    if strange:
        raise ValueError(
            f"cannot load the model in {source}: {min(strange)} has another shape than its "
            "config says"
        )
    return {name for name in {*loading["missing_keys"], *reshaped} if _is_of_head(name)}


def _is_of_head(name: str) -> bool:
    return name.split(".", maxsplit=1)[0] in {head.split(".")[0] for head in SCORE_HEADS}


def _check_numbers(model: PreTrainedModel, source: str | Path, *, besides: set[str]) -> None:
    for name, weight in model.named_parameters():
        if name in besides or not weight.numel():
            continue
        if not all(map(math.isfinite, map(float, torch.aminmax(weight.detach())))):
            raise ValueError(
                f"the weights in {source} are not all numbers ({name} holds NaN or infinity): "
                "take another copy of the model, or an earlier checkpoint"
            )


def _load_adapted_scorer(folder: Path, dtype: str) -> PreTrainedModel:
    from peft import AutoPeftModelForSequenceClassification

    with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
        names = {part for key in weights.keys() for part in key.split(".")}  # noqa: SIM118
    if not any(map(_is_of_head, names)):
        raise ValueError(
            f"the adapter in {folder} was saved without its score head, so its scores would be "
            "random: train it again with task_type SEQ_CLS and the head in modules_to_save"
        )
    adapted = AutoPeftModelForSequenceClassification.from_pretrained(
        folder, dtype=torch_dtype(dtype), num_labels=1
    )
    return adapted.merge_and_unload()  # type: ignore[no-any-return]


def score_head(model: PreTrainedModel) -> torch.nn.Linear:
    """The linear layer that gives the score. Raises ValueError where there is none that we know."""
    modules = dict(model.named_modules())
    for name in SCORE_HEADS:
        head = modules.get(name)
        if isinstance(head, torch.nn.Linear) and head.out_features == model.config.num_labels:
            return head
    raise ValueError(
        f"{type(model).__name__} has no linear score head under {', '.join(SCORE_HEADS)}: choose "
        "another base model for the reward"
    )


def add_adapters(
    model: PreTrainedModel, lora: LoraSettings, task: Literal["CAUSAL_LM", "SEQ_CLS"]
) -> Any:
    """The model with fresh LoRA adapters; at a reward model the score head is trained and saved
    with them, whole. What is trained is held in float32, or in float64 where the model is.
    """
    from peft import LoraConfig, get_peft_model
    from peft.utils import ModulesToSaveWrapper

    targets: str | list[str] = lora.target_modules
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=0.0,
        target_modules=targets,
        task_type=task,
        modules_to_save=_head_modules(model) if task == "SEQ_CLS" else None,
    )
    adapted = get_peft_model(model, config)
    for module in adapted.modules():
        if isinstance(module, ModulesToSaveWrapper):
            for head in module.modules_to_save.values():
                _held_wide(head)
    return adapted


def _held_wide(head: torch.nn.Module) -> None:
    """A head in float32 under layers in bfloat16, in which its small steps would be lost: see
    `trained_dtype`.
    """
    if next(head.parameters()).dtype != torch.bfloat16:
        return
    head.float()
    head.register_forward_pre_hook(_as_held)


def _as_held(head: torch.nn.Module, states: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return (states[0].to(next(head.parameters()).dtype), *states[1:])


def _head_modules(model: PreTrainedModel) -> list[str]:
    """The module under which the score head lies: LoRA trains a copy of it."""
    head = score_head(model)
    return [name.split(".")[0] for name, module in model.named_modules() if module is head]


def save_whole(
    model: Any, tokenizer: PreTrainedTokenizerBase, folder: Path, dtype: str | None = None
) -> None:
    """Saves a plain model folder, in `dtype` where that is given; adapters are merged into the
    weights first, so that anything can load it. The model is used up.
    """
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    if dtype is not None:
        model.to(torch_dtype(dtype))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def pad_apart_from_eos(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Gives a classifier that is to be saved a padding token other than EOS where it has that.

    A plain classifier reads the score at the last token that is not padding: with EOS for padding
    that is the one before a finished response's end, which was never trained. Another special token
    takes its place; where there is none, the config names none, and batches are refused by whoever
    loads it.
    """
    if tokenizer.pad_token_id != tokenizer.eos_token_id:
        return
    special = [one for one, token in tokenizer.added_tokens_decoder.items() if token.special]
    others = [one for one in special if one != tokenizer.eos_token_id]
    model.config.pad_token_id = min(others, default=None)
    if others:
        tokenizer.pad_token = str(tokenizer.convert_ids_to_tokens(min(others)))


def without_dropout(model: PreTrainedModel) -> PreTrainedModel:
    """The model with every dropout at 0, and no layer dropped."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        # Numbers, not modules: attention_dropout in Llama and its kin, dropout in OPT.
        for name, value in list(vars(module).items()):
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)
    return model


def _load(kind: Any, source: str | Path, what: str, **arguments: Any) -> Any:
    local = Path(source)
    if local.exists():
        source = str(local.resolve())
        adapter = what == "tokenizer" and (local / ADAPTER_CONFIG).exists()
        if not (adapter or (local / "config.json").exists()):
            raise ValueError(f"{local} is not a model folder: it has no config.json")
        if what == "tokenizer" and not any(local.glob("tokenizer*")):
            raise ValueError(f"{local} has no tokenizer: save one beside the model's weights")
    elif str(source).startswith((".", "/", "~")) or str(source).count("/") > 1:
        raise ValueError(f"no model folder at {source}")
    try:
        return kind.from_pretrained(str(source), **arguments)
    except (OSError, ValueError, SafetensorError) as error:
        if local.exists():
            raise ValueError(f"cannot load the {what} in {local}: {_first_line(error)}") from error
        offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in {"1", "true", "yes", "on"}
        why = (
            "HF_HUB_OFFLINE is set" if offline else "it could not be reached, or has no such model"
        )
        raise ValueError(
            f"the {what} {source!r} is needed from the Hugging Face hub, but {why}: "
            "download it where there is a network, or give a local folder as model.path"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0]
