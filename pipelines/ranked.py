"""What the preferences stage wrote, as token ids for the trainers."""

from collections.abc import Iterable, Mapping

from transformers import PreTrainedTokenizerBase

from pipelines.artifacts import RankedRow
from rlhf.reward.rankings import Dropped, RankedPrompt, ranked_prompts


def tokenise_ranked(
    rows: Iterable[RankedRow],
    tokenizer: PreTrainedTokenizerBase,
    max_tokens: int,
    *,
    ties: bool = False,
    labelers: Mapping[str, float] | None = None,
) -> tuple[list[RankedPrompt], Dropped]:
    """Ranked prompts ready to train on, and what was left out of them; with `ties`, for a loss that
    learns from ties. `labelers` are the weights of labelers; without them everybody counts alike,
    as where a model is measured.
    """
    held = list(rows)
    return ranked_prompts(
        [ranking for row in held for ranking in row.rankings],
        {row.prompt.id: row.prompt for row in held},
        {response.id: response for row in held for response in row.responses},
        tokenizer,
        max_tokens=max_tokens,
        ties=ties,
        labelers=labelers,
    )
