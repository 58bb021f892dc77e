"""Conversations as token ids: one place that says what a model reads, at every stage.

A sequence is the prompt (chat template with the generation prompt) followed by the response's own
tokens and EOS; a response that was cut off has no EOS. SFT, sampling, reward model, DPO and PPO
all build their ids here.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from rlhf.data.records import Message

CHAT_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")

# Chat templates for base models that come without one, by the name that the config gives.
CHAT_TEMPLATES = {
    # One token per role; for tokenizers that know these tokens.
    "role-tokens": (
        "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + eos_token "
        "}}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
    ),
    # Plain text, for any tokenizer.
    "plain-turns": (
        "{% for m in messages %}{{ m['role'].capitalize() + ':\n' + m['content'] }}"
        "{{ eos_token if m['role'] == 'assistant' else '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ 'Assistant:\n' }}{% endif %}"
    ),
    # A turn a line, as in documents of a request and its answer.
    "lines": (
        "{% for m in messages %}{{ m['content'] }}"
        "{{ eos_token if m['role'] == 'assistant' else '\n' }}{% endfor %}"
    ),
    # The text itself, continued: for story and completion models.
    "continue": (
        "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}{{ eos_token }}"
        "{% elif not loop.last and loop.nextitem['role'] != 'assistant' %}{{ '\n' }}{% endif %}"
        "{% endfor %}"
    ),
    # The format of Qwen and others.
    "chatml": (
        "{% for m in messages "
        "%}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
        "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
}


def ensure_chat_template(tokenizer: PreTrainedTokenizerBase, name: str | None) -> None:
    """Gives the tokenizer the chat template of this name where it has none (or where one is named).

    Raises ValueError where there is none and none is named, or the name is unknown.
    """
    if name is not None:
        if name not in CHAT_TEMPLATES:
            raise ValueError(
                f"no chat template named {name!r}: choose from {', '.join(CHAT_TEMPLATES)}"
            )
        tokenizer.chat_template = CHAT_TEMPLATES[name]
    elif not tokenizer.chat_template:
        raise ValueError(
            "this model has no chat template: name one as model.chat_template "
            f"({', '.join(CHAT_TEMPLATES)})"
        )


def ensure_padding(tokenizer: PreTrainedTokenizerBase) -> None:
    """A tokenizer without a padding token pads with EOS; masks tell the two apart everywhere."""
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no EOS token, so a response could never end: set one")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token


def prompt_ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Token ids of a conversation up to where the assistant's answer begins."""
    rows = [message.to_json() for message in messages]
    text = tokenizer.apply_chat_template(rows, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def response_ids(
    tokenizer: PreTrainedTokenizerBase, text: str, *, finished: bool = True
) -> list[int]:
    """Token ids of an answer, with EOS where it was finished.

    What spells a special token in the text is text, and neither ends the answer nor opens a turn.
    """
    ids = list(tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"])
    return [*ids, tokenizer.eos_token_id] if finished else ids


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """The text of response ids, without special tokens and outer blanks."""
    return str(tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


def fit_prompt(ids: list[int], limit: int) -> tuple[list[int], bool]:
    """The last `limit` ids of a prompt, and whether any were cut from its left.

    Raises ValueError where the limit leaves no room for a prompt.
    """
    if limit < 1:
        raise ValueError(
            f"{limit} tokens are left for the prompt: raise model.max_tokens or lower "
            "sample.max_new_tokens"
        )
    return (ids, False) if len(ids) <= limit else (ids[-limit:], True)


def prompt_within(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], limit: int
) -> tuple[list[int], Literal["messages", "tokens"] | None]:
    """Ids of a prompt that fits in `limit`, and what was cut from its left.

    The oldest messages go first, whole: a leading system message last of them, and never the last
    message. What is then too long still loses its first tokens. Raises ValueError where the limit
    leaves no room for a prompt.
    """
    whole = prompt_ids(tokenizer, messages)
    if len(whole) <= limit:
        return whole, None
    for fewer in _without_oldest(messages):
        try:
            ids = prompt_ids(tokenizer, fewer)
        except TemplateError:
            continue  # some templates want roles to alternate, from the user's on
        if len(ids) <= limit:
            return ids, "messages"
    return fit_prompt(whole, limit)[0], "tokens"


def prompts_within(
    tokenizer: PreTrainedTokenizerBase, conversations: Iterable[Sequence[Message]], limit: int
) -> tuple[list[tuple[int, ...]], int]:
    """Ids of prompts that fit in `limit`, as `prompt_within` cuts them, and how many it cut."""
    found = [prompt_within(tokenizer, messages, limit) for messages in conversations]
    return [tuple(ids) for ids, _ in found], sum(cut is not None for _, cut in found)


def _without_oldest(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    system = [messages[0]] if messages[0].role == "system" else []
    turns = messages[len(system) :]
    for start in range(1, len(turns)):
        yield [*system, *turns[start:]]
    if system and turns:
        yield turns[-1:]
