"""Which prompts a rollout takes, and which of its episodes an update takes: functions of the
seed.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from rlhf.data.identity import content_id, seed_from
from rlhf.data.records import Message
from rlhf.models.conversation import prompt_ids
from rlhf.policy.rollout import PromptIds


class RolloutBatches(torch.utils.data.Sampler[list[int]]):
    """Batches of prompt indices: each is repeated for every update on its rollout; every pass is
    shuffled anew.
    """

    def __init__(self, count: int, size: int, repeats: int, rollouts: int, seed: int) -> None:
        self.count, self.size, self.repeats, self.rollouts = count, size, repeats, rollouts
        self.seed = seed

    def __len__(self) -> int:
        return self.rollouts * self.repeats

    def __iter__(self) -> Iterator[list[int]]:
        waiting: list[int] = []
        epoch = 0
        for _ in range(self.rollouts):
            while len(waiting) < self.size:
                generator = torch.Generator().manual_seed(seed_from("prompts", self.seed, epoch))
                waiting += torch.randperm(self.count, generator=generator).tolist()
                epoch += 1
            batch, waiting = waiting[: self.size], waiting[self.size :]
            for _ in range(self.repeats):
                yield batch


def mini_batch(seed: int, rollout: int, epoch: int, part: int, parts: int, size: int) -> Any:
    """Indices (N,) into a rollout of `size` episodes; each epoch is a new permutation, a function
    of (seed, rollout, epoch).
    """
    generator = torch.Generator().manual_seed(seed_from("mini-batches", seed, rollout, epoch))
    return torch.randperm(size, generator=generator).chunk(parts)[part]


def prompts_from(
    dataset: Any,
    tokenizer: PreTrainedTokenizerBase,
    *,
    collator: Callable[[list[Any]], Any] | None = None,
    processes: int | None = None,
) -> Sequence[PromptIds]:
    """The prompts of a data set: `PromptIds`, or rows with `input_ids` as TRL's scripts make them,
    or rows with a `prompt` (a text, or messages), which are tokenised in `processes` processes.

    A collator is asked for each row alone. What an `attention_mask`, the collator's or the row's,
    leaves out is no prompt.
    Raises ValueError naming the first row that holds none.
    """
    if len(dataset) == 0:
        raise ValueError("the data set of prompts is empty")
    if isinstance(dataset[0], PromptIds):
        return [dataset[row] for row in range(len(dataset))]
    ours = "input_ids" not in dataset[0]  # then ids are those of `prompt`
    if ours and "prompt" in dataset[0] and hasattr(dataset, "map"):
        dataset = dataset.map(
            lambda row: {"input_ids": _ids_of_prompt(row["prompt"], tokenizer)},
            num_proc=processes,
        )
    found = []
    for number in range(len(dataset)):
        row = dataset[number]
        ids = _ids_of(row, tokenizer, collator)
        if not ids:
            raise ValueError(f"row {number} of the data set holds no prompt: it has no input_ids")
        said = _messages_of(row.get("prompt")) if ours and collator is None else ()
        found.append(PromptIds(content_id("prompt", ids), ids, said))
    return found


def _ids_of(
    row: Any, tokenizer: PreTrainedTokenizerBase, collator: Callable[[list[Any]], Any] | None
) -> tuple[int, ...]:
    if collator is not None:
        batch = collator([row])
        ids, kept = torch.as_tensor(batch["input_ids"])[0], None
        if "attention_mask" in batch:
            kept = torch.as_tensor(batch["attention_mask"])[0].bool()
        return tuple((ids if kept is None else ids[kept]).tolist())
    if "input_ids" in row:
        read, mask = row["input_ids"], row.get("attention_mask")
        text = [1] * len(read) if mask is None else mask
        return tuple(int(one) for one, is_text in zip(read, text, strict=True) if is_text)
    return tuple(_ids_of_prompt(row["prompt"], tokenizer)) if "prompt" in row else ()


def _ids_of_prompt(prompt: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    return prompt_ids(tokenizer, _messages_of(prompt))


def _messages_of(prompt: Any) -> tuple[Message, ...]:
    if not isinstance(prompt, list):
        return ()
    return tuple(Message(one["role"], one["content"]) for one in prompt)


def check_prompts(
    prompts: Sequence[PromptIds],
    response_length: int,
    context: int | None,
    known: int,
    which: str = "prompts",
) -> None:
    """Raises ValueError where a prompt and its longest response do not fit into the context, and
    for a token beyond the `known` ones of the policy, or none at all.
    """
    if not prompts or not all(one.ids for one in prompts):
        raise ValueError(f"the {which} are none, or some without a token: leave those out")
    highest = max(max(one.ids) for one in prompts)
    if highest >= known:
        raise ValueError(
            f"a prompt holds the token {highest}, and the policy knows {known}: tokenise the "
            "prompts with the policy's own tokenizer"
        )
    if context is None:
        return
    too_long = [one for one in prompts if len(one.ids) + response_length > context]
    if too_long:
        most = max(len(one.ids) for one in too_long)
        raise ValueError(
            f"{len(too_long)} of {len(prompts)} {which} leave no room for {response_length} tokens "
            f"in a context of {context}: the longest has {most}; shorten them, or lower "
            "response_length"
        )
