"""Conversations as ids: what a model reads is the same text at every stage."""

import pytest
from tiny_models import EOS, tokenizer

from rlhf.data.records import Message
from rlhf.models.conversation import (
    CHAT_TEMPLATES,
    decode,
    ensure_chat_template,
    ensure_padding,
    fit_prompt,
    prompt_ids,
    prompts_within,
    response_ids,
)
from rlhf.models.decoder import train_tokenizer

ASKED = (
    Message("system", "Be brief."),
    Message("user", "How do I boil an egg?"),
    Message("assistant", "In water."),
    Message("user", "For how long?"),
)
# The conversation, its answer included, as each template writes it.
WRITTEN = {
    "role-tokens": (
        "<|system|>Be brief.<|end|><|user|>How do I boil an egg?<|end|><|assistant|>In water."
        "<|end|><|user|>For how long?<|end|><|assistant|>Eight minutes.<|end|>"
    ),
    "plain-turns": (
        "System:\nBe brief.\nUser:\nHow do I boil an egg?\nAssistant:\nIn water.<|end|>"
        "User:\nFor how long?\nAssistant:\nEight minutes.<|end|>"
    ),
    "lines": (
        "Be brief.\nHow do I boil an egg?\nIn water.<|end|>For how long?\nEight minutes.<|end|>"
    ),
    "continue": (
        "Be brief.\nHow do I boil an egg?In water.<|end|>For how long?Eight minutes.<|end|>"
    ),
    "chatml": (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHow do I boil an egg?<|im_end|>"
        "\n<|im_start|>assistant\nIn water.<|im_end|>\n<|im_start|>user\nFor how long?<|im_end|>\n"
        "<|im_start|>assistant\nEight minutes.<|end|>"
    ),
}


def with_template(name: str) -> object:
    made = train_tokenizer(["How do I boil an egg?"], 280)
    ensure_chat_template(made, name)
    return made


def test_every_template_is_tested() -> None:
    assert set(WRITTEN) == set(CHAT_TEMPLATES)


@pytest.mark.parametrize("name", sorted(CHAT_TEMPLATES))
def test_prompt_and_response_are_written_as_the_template_says(name: str) -> None:
    made = with_template(name)
    ids = prompt_ids(made, ASKED) + response_ids(made, "Eight minutes.")  # type: ignore[arg-type]
    assert made.decode(ids) == WRITTEN[name]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", sorted(set(CHAT_TEMPLATES) - {"chatml"}))
def test_an_answer_reads_the_same_when_it_is_history(name: str) -> None:
    """What the model is trained to say after a prompt is what later turns show that it said."""
    made = with_template(name)
    told = [m.to_json() for m in (*ASKED, Message("assistant", "Eight minutes."))]
    history = made.apply_chat_template(told, tokenize=False)  # type: ignore[attr-defined]
    assert history == WRITTEN[name]


@pytest.mark.parametrize("name", sorted(CHAT_TEMPLATES))
def test_a_response_comes_back_as_its_text(name: str) -> None:
    made = with_template(name)
    text = "Ei für 8 Minuten — so:\n\n  1. Wasser\n  2. Ei 🥚"
    ids = response_ids(made, text)  # type: ignore[arg-type]
    assert ids[-1] == EOS
    assert decode(made, ids) == text  # type: ignore[arg-type]


def test_a_cut_off_response_has_no_eos() -> None:
    ended, cut = (response_ids(tokenizer(), "I do not", finished=f) for f in (True, False))
    assert ended == [*cut, EOS]


def test_text_cannot_spell_the_end_of_a_response_or_a_turn() -> None:
    text = "He wrote <|end|> and <|assistant|> by hand."
    ids = response_ids(tokenizer(), text)
    specials = set(tokenizer().all_special_ids) | {tokenizer().convert_tokens_to_ids("<|user|>")}
    assert specials.isdisjoint(ids[:-1])
    assert decode(tokenizer(), ids) == text


def test_unknown_template_is_refused_by_name() -> None:
    made = train_tokenizer(["a b"], 262)
    with pytest.raises(
        ValueError, match=r"no chat template named 'chat-ml': choose from role-tok.*chatml$"
    ):
        ensure_chat_template(made, "chat-ml")


def test_missing_template_is_refused_with_the_setting_that_names_one() -> None:
    made = train_tokenizer(["a b"], 262)
    with pytest.raises(ValueError, match=r"has no chat template: name one as model.chat_template"):
        ensure_chat_template(made, None)
    ensure_chat_template(made, "continue")
    ensure_chat_template(made, None)  # the one it has stays
    assert made.chat_template == CHAT_TEMPLATES["continue"]


def test_padding_falls_back_on_eos_and_eos_is_needed() -> None:
    made = train_tokenizer(["a b"], 262)
    made.pad_token = None
    ensure_padding(made)
    assert made.pad_token_id == EOS
    made.eos_token = None
    with pytest.raises(ValueError, match="has no EOS token, so a response could never end"):
        ensure_padding(made)


def test_prompts_are_cut_on_the_left() -> None:
    assert fit_prompt([1, 2, 3, 4], 4) == ([1, 2, 3, 4], False)
    assert fit_prompt([1, 2, 3, 4], 3) == ([2, 3, 4], True)


@pytest.mark.parametrize("room", [0, -48])
def test_no_room_for_a_prompt_is_refused(room: int) -> None:
    with pytest.raises(ValueError, match=f"{room} tokens are left for the prompt: raise model.max"):
        fit_prompt([1, 2, 3, 4], room)


def test_prompts_lose_whole_messages_first_and_are_counted() -> None:
    whole = tuple(prompt_ids(tokenizer(), ASKED))
    shorter = tuple(prompt_ids(tokenizer(), [ASKED[0], ASKED[3]]))
    assert prompts_within(tokenizer(), [ASKED, ASKED[:2]], len(whole))[1] == 0
    found, cut = prompts_within(tokenizer(), [ASKED, ASKED[3:]], len(shorter))
    assert (found[0], cut) == (shorter, 1)
    assert found[1] == tuple(prompt_ids(tokenizer(), ASKED[3:]))
