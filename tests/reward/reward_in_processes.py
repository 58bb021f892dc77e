"""What `test_two_processes` runs under torchrun: five steps of a reward model in float64, and a
whole training with its evaluations. The first process writes what came out.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny_models import EOS, PAD, parameters, policy, quiet_arguments, reward_model, save
from transformers import BertConfig, BertForSequenceClassification

from rlhf.models.loading import load_scorer
from rlhf.models.training import fit
from rlhf.reward.ensemble import Ensemble
from rlhf.reward.objective import LossName, Objective
from rlhf.reward.rankings import Order, RankedPrompt
from rlhf.reward.scorer import member_folder
from rlhf.reward.seeds import train_seeds
from rlhf.reward.trainer import (
    LOG_NU,
    RankedCollator,
    RankedDataset,
    RewardArguments,
    RewardTrainer,
    Trained,
    learned_log_nu,
    train_reward,
)

STEPS = 5
PROMPTS = 4  # of an optimizer step, over all processes and micro-batches


def ranked_prompts() -> list[RankedPrompt]:
    """20 prompts of two to four responses, with ties; every third one weighs a third."""
    draw = torch.Generator().manual_seed(3)
    made = []
    for number in range(STEPS * PROMPTS):
        count = 2 + number % 3
        texts = torch.randint(2, 40, (count, 3), generator=draw).tolist()
        answers = tuple((*text[: 1 + n % 3], EOS) for n, text in enumerate(texts))
        share = 1 / 3 if number % 3 == 0 else 1.0
        weight = (share / (count - 1),) * (count - 1)
        prompt = tuple(torch.randint(2, 40, (2 + number % 2,), generator=draw).tolist())
        groups = ((0,), tuple(range(1, count)))
        made.append(
            RankedPrompt(
                f"{number:02}",
                prompt,
                answers,
                (1,) * count,
                (0,) * (count - 1),
                tuple(range(1, count)),
                weight,
                (1,) * (count - 1),
                (Order(groups, share),),
            )
        )
    return made


def encoder() -> BertForSequenceClassification:
    """It is called whole where a decoder is called in parts."""
    torch.manual_seed(2)
    sizes: Any = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24}
    layers: Any = {"num_hidden_layers": 2, "num_attention_heads": 2, "num_labels": 1}
    still: Any = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    config = BertConfig(**sizes, **layers, **still, pad_token_id=PAD)
    return BertForSequenceClassification(config).double()


def steps(
    folder: Path,
    loss: LossName,
    *,
    size: int,
    accumulation: int,
    shared: bool = True,
    made: Callable[[], Any] = reward_model,
    prompts: int = STEPS * PROMPTS,
) -> torch.Tensor:
    """The weights after five steps, and nu where it is learned."""
    model: Any = made()
    if loss != "bradley-terry":
        model.score.register_parameter(
            LOG_NU, torch.nn.Parameter(torch.tensor(0.1, dtype=torch.float64))
        )
    args = RewardArguments(
        **quiet_arguments(
            folder,
            remove_unused_columns=False,
            max_steps=STEPS,
            optim="sgd",  # Adam would not see a gradient that is too large by a factor
            learning_rate=0.02,
            max_grad_norm=0.0,
            lr_scheduler_type="constant",
            per_device_train_batch_size=size,
            gradient_accumulation_steps=accumulation,
        )
    )
    data = ranked_prompts()[:prompts]
    trainer = RewardTrainer(
        model=model,
        args=args,
        train_dataset=RankedDataset(data),
        data_collator=RankedCollator(PAD, shared),
        objective=Objective(loss),
    )
    fit(trainer, log=lambda _: None, progress=lambda *_: None)
    assert (learned_log_nu(model) is not None) == (loss != "bradley-terry")
    return parameters(model)


def encoder_steps(folder: Path, *, size: int) -> torch.Tensor:
    return steps(folder, "bradley-terry", size=size, accumulation=1, shared=False, made=encoder)


def uneven_steps(folder: Path, *, size: int) -> torch.Tensor:
    """The last step of the epoch has one prompt: of two processes one has nothing to read."""
    return steps(folder, "davidson", size=size, accumulation=1, prompts=17)


def whole(folder: Path, base: Path, *, size: int) -> list[float]:
    """The losses of the evaluations of a training that stops early, saved in `folder/model`."""
    data = ranked_prompts()
    rows: list[dict[str, Any]] = []
    train_reward(
        base,
        data,
        [(one.prompt, response) for one in data for response in one.responses],
        folder / "model",
        quiet_arguments(
            folder,
            max_steps=STEPS,
            learning_rate=1e-3,
            per_device_train_batch_size=size,
            per_device_eval_batch_size=size,
            early_stopping_patience=3,
            eval_steps=1,
        ),
        seed=5,
        dtype="float32",
        lora=None,
        log=rows.append,
        progress=lambda *_: None,
        validation=data[:7],
    )
    return [row["eval_loss"] for row in rows if "eval_loss" in row]


def seeds(folder: Path, base: Path, *, size: int) -> torch.Tensor:
    """The weights of two members in one unit. One process alone knows what shall score 0."""
    data = ranked_prompts()
    references = [(one.prompt, response) for one in data for response in one.responses]

    def train_one(place: Path, seed: int, _: int) -> Trained:
        settings = quiet_arguments(folder, max_steps=2, per_device_train_batch_size=size)
        kept: Any = {"log": lambda _: None, "progress": lambda *_: None}
        kind: Any = {"seed": seed, "dtype": "float32", "lora": None}
        return train_reward(base, data, references, place, settings, **kind, **kept)

    known = references if int(os.environ.get("RANK", "0")) == 0 else []
    model, ensemble = folder / "model", Ensemble(2, "seeds")
    train_seeds(train_one, ensemble, model, known, PAD, seed=5, dtype="float32")
    places = (member_folder(model, one) for one in range(2))
    return torch.cat([parameters(load_scorer(place, PAD)) for place in places])


def base_model(folder: Path) -> Path:
    return save(policy(300, dtype=torch.float32), folder)


def main() -> None:
    folder, base = Path(sys.argv[1]), Path(sys.argv[2])
    found = {
        "bradley-terry": steps(folder / "a", "bradley-terry", size=2, accumulation=1),
        "apart": steps(folder / "b", "bradley-terry", size=2, accumulation=1, shared=False),
        "encoder": encoder_steps(folder / "g", size=2),
        "accumulated": steps(folder / "c", "bradley-terry", size=1, accumulation=2),
        "uneven": uneven_steps(folder / "h", size=2),
        "davidson": steps(folder / "d", "davidson", size=2, accumulation=1),
        "plackett-luce": steps(folder / "e", "plackett-luce", size=2, accumulation=1),
        "seeds": seeds(folder / "i", base, size=2),
        "evaluations": torch.tensor(whole(folder / "f", base, size=2), dtype=torch.float64),
    }
    if torch.distributed.get_rank() == 0:
        torch.save(found, folder / "found.pt")


if __name__ == "__main__":
    main()
