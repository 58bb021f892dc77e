"""Where PPO's scores come from: a reward model on token ids, one with another tokenizer through
text, a function of the user's, or several added.
"""

import importlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from transformers import PreTrainedTokenizerBase

from rlhf.data.records import Message
from rlhf.models.conversation import prompt_ids, response_ids
from rlhf.models.loading import SCORE_HEADS, check_is_one, eos_token_id
from rlhf.models.places import places_of
from rlhf.reward.scorer import Scorer

Ids = Sequence[int]
Conversations = Mapping[tuple[int, ...], Sequence[Message]]
RewardFunction = Callable[[Sequence[str], Sequence[str]], Sequence[float]]

log = logging.getLogger(__name__)


class Rewards(Protocol):
    """Scores responses, given as token ids; EOS is part of a finished response's ids."""

    def score(self, prompts: Sequence[Ids], responses: Sequence[Ids]) -> list[float]:
        """One number for each (prompt, response), in the order given."""


@dataclass(frozen=True, slots=True)
class TextRewards:
    """A reward model with another tokenizer: what the policy wrote is decoded and read again.
    `stop_token_id` ends a response in place of the policy's EOS, and is no part of its text.
    `conversations` are what prompts are made of, by their ids: the reward model reads them in its
    own chat format. A prompt that is not among them is read as its text without special tokens.
    """

    scorer: Scorer
    policy_tokenizer: PreTrainedTokenizerBase
    reward_tokenizer: PreTrainedTokenizerBase
    stop_token_id: int | None = None
    conversations: Conversations = field(default_factory=dict)

    def score(self, prompts: Sequence[Ids], responses: Sequence[Ids]) -> list[float]:
        """Rewards of the texts; a response that ended ends with the reward model's own EOS."""
        asked = [self._prompt(ids) for ids in prompts]
        answers = [self._response(ids) for ids in responses]
        places = places_of(self.scorer.model)
        longest = max((len(a) + len(b) for a, b in zip(asked, answers, strict=True)), default=0)
        if places is not None and longest > places:
            raise ValueError(
                f"the reward model has places for {places} tokens, and a prompt with its response "
                f"has {longest} of its own: shorten the prompts, or lower response_length"
            )
        return self.scorer.score(asked, answers)

    def _prompt(self, ids: Ids) -> list[int]:
        messages = self.conversations.get(tuple(ids))
        if messages and self.reward_tokenizer.chat_template:
            return prompt_ids(self.reward_tokenizer, messages)
        text = self.policy_tokenizer.decode(list(ids), skip_special_tokens=True)
        found = self.reward_tokenizer(text, add_special_tokens=False)["input_ids"]
        return list(found) or [eos_token_id(self.reward_tokenizer)]

    def _response(self, ids: Ids) -> list[int]:
        end = self.stop_token_id
        if end is None:
            end = eos_token_id(self.policy_tokenizer)
        finished = bool(ids) and ids[-1] == end
        written = list(ids[:-1] if finished else ids)
        text = str(self.policy_tokenizer.decode(written, skip_special_tokens=True))
        found = response_ids(self.reward_tokenizer, text, finished=finished)
        return found or [eos_token_id(self.reward_tokenizer)]


@dataclass(frozen=True, slots=True)
class FunctionRewards:
    """A function of the user's on texts: all prompts and responses of a rollout in, numbers out."""

    function: RewardFunction
    tokenizer: PreTrainedTokenizerBase

    def score(self, prompts: Sequence[Ids], responses: Sequence[Ids]) -> list[float]:
        """The function's numbers. Raises ValueError where it does not give one a response."""
        asked, answers = (
            [str(self.tokenizer.decode(list(ids), skip_special_tokens=True)) for ids in rows]
            for rows in (prompts, responses)
        )
        given = self.function(asked, answers)
        name = getattr(self.function, "__name__", repr(self.function))
        try:
            found = [float(one) for one in given]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the reward function {name} must return a list of numbers, one for each response: "
                f"{error}"
            ) from error
        if len(found) != len(answers):
            raise ValueError(
                f"the reward function {name} gave {len(found)} numbers for {len(answers)} "
                "responses: it must give one for each"
            )
        return found


@dataclass(frozen=True, slots=True)
class SummedRewards:
    """Several sources, added."""

    sources: tuple[Rewards, ...]

    def score(self, prompts: Sequence[Ids], responses: Sequence[Ids]) -> list[float]:
        """The sums."""
        found = [source.score(prompts, responses) for source in self.sources]
        sizes = [len(numbers) for numbers in found]
        if set(sizes) != {len(responses)}:
            raise ValueError(
                f"the rewards that are added gave {sizes} numbers for {len(responses)} responses: "
                "each must give one for each"
            )
        return [sum(numbers) for numbers in zip(*found, strict=True)]


def reward_function(name: str) -> RewardFunction:
    """The function named `package.module:function` in a config. Raises ValueError where there is
    none.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ValueError(f"no reward function {name!r}: write package.module:function")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot import the reward function {name!r}: {error}") from error
    if not callable(found):
        raise ValueError(f"{name!r} is no function")
    return cast("RewardFunction", found)


def rewards_of(
    model: Any,
    function: RewardFunction | None,
    tokenizer: PreTrainedTokenizerBase,
    reward_tokenizer: PreTrainedTokenizerBase | None = None,
    stop_token_id: int | None = None,
    conversations: Conversations | None = None,
    *,
    which: str = "reward model",
) -> Rewards:
    """The rewards of a model (a classifier, or anything that scores ids), of a function, or their
    sum; `stop_token_id` is what ends a response where that is not EOS, `conversations` what prompts
    are made of, by their ids. Raises ValueError where
    there is neither, or where the model cannot read these ids.
    """
    sources: list[Rewards] = []
    if model is not None:
        sources.append(
            _of_model(model, tokenizer, reward_tokenizer, stop_token_id, conversations or {}, which)
        )
    if function is not None:
        sources.append(FunctionRewards(function, tokenizer))
    if not sources:
        raise ValueError("PPO needs a reward: give reward_model, reward_function, or both")
    return sources[0] if len(sources) == 1 else SummedRewards(tuple(sources))


def _of_model(
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    reward_tokenizer: PreTrainedTokenizerBase | None,
    stop_token_id: int | None,
    conversations: Conversations,
    which: str,
) -> Rewards:
    if hasattr(model, "score") and not hasattr(model, "config"):
        return cast("Rewards", model)  # a Scorer, or what behaves like one
    _check_judge(model, which)
    known = int(model.config.get_text_config().vocab_size)
    other = reward_tokenizer is not None and reward_tokenizer.get_vocab() != tokenizer.get_vocab()
    if other:
        assert reward_tokenizer is not None
        if reward_tokenizer.eos_token_id is None:
            raise ValueError(
                f"the tokenizer of the {which} has no EOS, so that a response that ended could not "
                "be told from one that was cut: set its eos_token, for an encoder to its sep_token"
            )
        log.warning(
            "The %s has another tokenizer: responses are scored through their text, which costs a "
            "decoding and a tokenising for each, and shifts scores where the text does not come "
            "back as it was.",
            which,
        )
        if not (conversations and reward_tokenizer.chat_template):
            log.warning(
                "Prompts reach that %s without the format of a chat: give a data set "
                "with `prompt` as messages, and a reward tokenizer with a chat template, if it was "
                "trained on chats.",
                which,
            )
        scorer = Scorer(model, padding_within(reward_tokenizer.pad_token_id, known))
        return TextRewards(scorer, tokenizer, reward_tokenizer, stop_token_id, conversations)
    # Nobody writes padding: scripts add a token for it that no model was made for.
    ids = (one for one in tokenizer.get_vocab().values() if one != tokenizer.pad_token_id)
    written = max(ids, default=-1) + 1
    if known < written:
        raise ValueError(
            f"the {which} knows {known} tokens and the tokenizer {written}: give its own "
            "tokenizer as reward_processing_class"
        )
    return Scorer(model, padding_within(tokenizer.pad_token_id, known))


def _check_judge(model: Any, which: str) -> None:
    """Raises ValueError for what gives no single score a text: a causal model, several labels."""
    check_is_one(model)
    labels = getattr(model.config, "num_labels", 1)
    if not any(hasattr(model, head.split(".")[0]) for head in SCORE_HEADS):
        raise ValueError(
            f"{type(model).__name__} has no score head and cannot be the {which}: load it as "
            "AutoModelForSequenceClassification with num_labels=1"
        )
    if labels != 1:
        raise ValueError(
            f"the {which} gives {labels} numbers for a text, and a reward is one: load it "
            "with num_labels=1, or wrap it in an object with score(prompts, responses)"
        )


def check_numbers(rewards: Sequence[float], responses: Sequence[Ids]) -> None:
    """Raises FloatingPointError for a reward that is NaN or infinite: nothing can be chosen or
    learned by it.
    """
    for reward, ids in zip(rewards, responses, strict=True):
        if not math.isfinite(reward):
            raise FloatingPointError(
                f"the reward of a response is {reward} (its tokens end in {list(ids[-16:])}): look "
                "at the reward model"
            )


def padding_within(pad_token_id: Any, known: int) -> int:
    """The padding token where a model that knows so many tokens has it, else 0: what stands in the
    padding cannot matter, but must have an embedding.
    """
    return int(pad_token_id) if isinstance(pad_token_id, int) and pad_token_id < known else 0
