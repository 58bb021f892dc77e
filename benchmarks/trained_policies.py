"""Policies of the controlled world that are trained: a small decoder, fine-tuned to write as the
world's reference does, and moved by the shipped trainers. It is enumerated, so that what a training
reached is known exactly.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, TrainingArguments
from trl import DPOConfig

from benchmarks.crew import Labels
from benchmarks.world import END, LETTERS, STEPS, VOCABULARY, WORDS, Array, World, standardised
from rlhf.data.identity import Json
from rlhf.models.training import fit, silence
from rlhf.policy.dpo import DPOTrainer, reference_logprobs
from rlhf.policy.dpo_trl import GuardedDPOTrainer, pairs_of
from rlhf.policy.held_out import HeldOut
from rlhf.policy.ppo import PPOConfig, PPOTrainer
from rlhf.policy.rewards import Ids
from rlhf.policy.rollout import PromptIds
from rlhf.reward.rankings import RankedPrompt
from rlhf.reward.trainer import RankedCollator, RankedDataset

NEVER = -60.0  # the logit of a letter: responses are written in words
HIDDEN, LAYERS = 64, 2
Prompts = NDArray[np.int64]


def make_decoder(seed: int) -> LlamaForCausalLM:
    """A small Llama with random weights that writes words alone."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=LAYERS,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=32,
        tie_word_embeddings=False,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=END,
    )
    model = LlamaForCausalLM(config)
    head = torch.nn.Linear(HIDDEN, VOCABULARY)
    with torch.no_grad():
        head.weight.copy_(model.lm_head.weight)
        head.weight[LETTERS.start :] = 0.0
        head.bias.zero_()
        head.bias[LETTERS.start :] = NEVER
    head.bias.requires_grad_(False)
    model.lm_head = head
    return model


def tokenizer() -> PreTrainedTokenizerFast:
    """Names for the world's tokens; END pads as well."""
    names = {f"w{one}": one for one in range(WORDS)} | {"<end>": END}
    names |= {f"l{one}": one for one in LETTERS}
    plain = Tokenizer(WordLevel(names, unk_token="<end>"))
    plain.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, eos_token="<end>", pad_token="<end>", padding_side="left"
    )


def fine_tuned(
    world: World, *, seed: int, steps: int = 200, rows: int = 192, rate: float = 3e-3
) -> LlamaForCausalLM:
    """A decoder that writes as the world's reference, by cross-entropy with its distribution of the
    next token on responses drawn from it.
    """
    model = make_decoder(seed)
    random = np.random.default_rng([41, seed])
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    chances = np.exp(world.logprobs)
    up_to = np.cumsum(chances, 1)
    for _ in range(steps):
        prompt = random.integers(len(world.prompts), size=rows)
        point = random.random(rows)
        drawn = np.array(
            [
                np.searchsorted(up_to[p] / up_to[p, -1], at)
                for p, at in zip(prompt, point, strict=True)
            ]
        )
        words = world.responses[drawn]  # (rows, STEPS)
        before = np.concatenate([np.full((rows, 1), END), words[:, :-1]], 1)
        wanted = torch.tensor(np.exp(world.next_word[prompt[:, None], before]))  # (rows, STEPS, 5)
        real = torch.tensor(np.arange(STEPS) <= world.lengths[drawn][:, None])
        ids = torch.tensor(np.concatenate([world.prompts[prompt], words[:, :-1]], 1))
        logits = model(input_ids=ids, use_cache=False).logits[:, -STEPS:, : WORDS + 1]
        lost = -(wanted * torch.log_softmax(logits.double(), -1)).sum(-1)
        optimizer.zero_grad()
        (lost * real).sum().div(real.sum()).backward()
        optimizer.step()
        schedule.step()
    model.eval()
    return model


@torch.no_grad()
def logprobs_of(model: Any, world: World, prompts: Prompts) -> Array:
    """What a decoder gives every response to these prompts, (p, N): all words that can stand before
    a word are read once.
    """
    codes = np.arange(WORDS ** (STEPS - 1))
    places = WORDS ** np.arange(STEPS - 2, -1, -1)
    words = codes[:, None] // places % WORDS  # (4^5, 5), in the order of `world.responses`
    rows = []
    for prompt in world.prompts[prompts]:
        asked = np.broadcast_to(prompt, (len(words), len(prompt)))
        ids = torch.tensor(np.concatenate([asked, words], 1))
        logits = model(input_ids=ids, use_cache=False).logits[:, -STEPS:]
        step = torch.log_softmax(logits.double(), -1)[..., : WORDS + 1].numpy()
        before, found = np.zeros(1), []
        for length in range(STEPS):
            # of the rows that begin with the same words, the first
            own = step[:: WORDS ** (STEPS - 1 - length), length]  # (4^length, 5)
            found.append(before + own[:, END])
            before = (before[:, None] + own[:, :WORDS]).reshape(-1)
        rows.append(np.concatenate([*found, before]))
    return np.stack(rows)


def around(world: World, model: Any) -> World:
    """The world with the decoder as its reference, so that a policy starts at 0 nats; gold has mean
    0 and standard deviation 1 there.
    """
    logprobs = logprobs_of(model, world, np.arange(len(world.prompts)))
    return replace(world, logprobs=logprobs, gold=standardised(world.gold, logprobs))


def as_ids(world: World, prompts: Prompts) -> list[PromptIds]:
    """Prompts for a trainer."""
    return [PromptIds(str(one), tuple(world.prompts[one].tolist())) for one in prompts.tolist()]


def response_ids(world: World, response: int) -> tuple[int, ...]:
    """A response as it is sampled: END is its last token, but for one that is cut."""
    ids = world.responses[response, : world.lengths[response] + 1]
    return tuple(ids.tolist())


@dataclass(frozen=True, slots=True)
class Known:
    """A reward that is known of every response, (P, N): a trainer's reward model."""

    world: World
    reward: Array
    row: dict[tuple[int, ...], int]
    column: dict[tuple[int, ...], int]

    @classmethod
    def of(cls, world: World, reward: Array) -> "Known":
        """For a reward of all prompts of the world."""
        row = {tuple(ids): n for n, ids in enumerate(world.prompts.tolist())}
        column = {response_ids(world, n): n for n in range(len(world.responses))}
        return cls(world, reward, row, column)

    def score(self, prompts: Sequence[Ids], responses: Sequence[Ids]) -> list[float]:
        """The reward of each."""
        asked = [self.row[tuple(ids)] for ids in prompts]
        said = [self.column[tuple(ids)] for ids in responses]
        found: list[float] = self.reward[asked, said].tolist()
        return found


class WatchedPPO(PPOTrainer):
    """PPO that keeps what its policy is at each evaluation, exactly: the log-probabilities of all
    responses to `watched` prompts.
    """

    world: World
    watched: Prompts
    seen: list[Array]

    def _evaluate_policy(self, number: int) -> None:
        super()._evaluate_policy(number)
        self.seen.append(logprobs_of(self.trained.policy, self.world, self.watched))


def ppo(
    world: World,
    start: Any,
    reward: Array,
    folder: Path,
    *,
    seed: int,
    settings: Json,
    monitor: Array | None = None,
    watched: Prompts | None = None,
    copies: int = 48,
) -> WatchedPPO:
    """A trainer that has run: PPO on a reward (P, N) of the world's prompts, from a decoder that is
    left as it is.
    """
    asked = as_ids(world, world.train)
    held_out = None
    if watched is not None:
        watcher = None if monitor is None else Known.of(world, monitor)
        held_out = HeldOut(as_ids(world, watched) * copies, watcher)
    trainer = WatchedPPO(
        args=PPOConfig(**{**_quiet(folder, seed), "temperature": 1.0, **settings}),
        processing_class=tokenizer(),
        model=copy.deepcopy(start),
        reward_model=Known.of(world, reward),
        train_dataset=asked * 16,
        held_out=held_out,
    )
    trainer.world, trainer.seen = world, []
    trainer.watched = world.test if watched is None else watched
    fit(trainer, log=lambda _: None, progress=lambda *_: None)
    return trainer


def _quiet(folder: Path, seed: int) -> Json:
    return {
        "output_dir": str(folder),
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "bf16": False,
        "save_strategy": "no",
        "seed": seed,
        "data_seed": seed,
        "dataloader_pin_memory": False,
        "logging_steps": 1,
    }


def ranked(world: World, labels: Labels) -> list[RankedPrompt]:
    """The labels for a trainer: a prompt once, with all that was said about it."""
    made = []
    for prompt in np.unique(labels.prompt).tolist():
        own = labels[labels.prompt == prompt]
        responses = np.unique(np.concatenate([own.first, own.second]))
        place = {one: n for n, one in enumerate(responses.tolist())}
        won = own.vote > 0.5
        better = np.where(won, own.first, own.second).tolist()
        worse = np.where(won, own.second, own.first).tolist()
        made.append(
            RankedPrompt(
                str(prompt),
                tuple(world.prompts[prompt].tolist()),
                tuple(response_ids(world, one) for one in responses.tolist()),
                tuple(world.lengths[responses].tolist()),
                tuple(place[one] for one in better),
                tuple(place[one] for one in worse),
                (1 / len(own),) * len(own),
            )
        )
    return made


def one_by_one(data: Sequence[RankedPrompt]) -> list[RankedPrompt]:
    """Each comparison as a ranking of its own, so that a batch can hold those of many prompts."""
    return [
        RankedPrompt(
            f"{one.prompt_id}-{number}",
            one.prompt,
            (one.responses[better], one.responses[worse]),
            (one.response_words[better], one.response_words[worse]),
            (0,),
            (1,),
            (1.0,),
        )
        for one in data
        for number, (better, worse) in enumerate(zip(one.better, one.worse, strict=True))
    ]


def dpo(
    start: Any,
    data: Sequence[RankedPrompt],
    folder: Path,
    *,
    seed: int,
    beta: float,
    settings: Json,
) -> Any:
    """A policy that the K-wise trainer moved from a decoder, which is left as it is."""
    model = copy.deepcopy(start)
    args = TrainingArguments(remove_unused_columns=False, **{**_quiet(folder, seed), **settings})
    trainer = DPOTrainer(
        beta=beta,
        reference_logprobs=reference_logprobs(start, data, END),
        model=model,
        args=args,
        train_dataset=RankedDataset(data),
        data_collator=RankedCollator.for_model(model, END, data, args),
    )
    fit(trainer, log=lambda _: None, progress=lambda *_: None)
    return model.eval()


def dpo_by_trl(
    start: Any,
    data: Sequence[RankedPrompt],
    folder: Path,
    *,
    seed: int,
    beta: float,
    settings: Json,
) -> Any:
    """The same by TRL's trainer, on the same pairs."""
    model = copy.deepcopy(start)
    args = DPOConfig(max_length=None, beta=beta, **{**_quiet(folder, seed), **settings})
    trainer = GuardedDPOTrainer(
        model=model,
        ref_model=copy.deepcopy(start),
        args=args,
        train_dataset=Dataset.from_list(pairs_of(data)),
        processing_class=tokenizer(),
    )
    silence(trainer)
    fit(trainer, log=lambda _: None, progress=lambda *_: None)
    return model.eval()
