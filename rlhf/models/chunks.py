"""How rows of unlike length are cut into chunks that pass through a model together.

Padding costs as much as text, and a pass costs something whatever is in it: chunks are cut where
the two together cost least.
"""

from collections.abc import Sequence

import numpy as np
import torch

# Padded tokens that pass through a model at once. On a CPU few stay in its caches; on a GPU many
# make up for the launching of its kernels.
CPU_BUDGET_TOKENS = 2048
GPU_BUDGET_TOKENS = 32768
# What a pass costs beside its tokens, in tokens.
CPU_PASS_TOKENS = 32
GPU_PASS_TOKENS = 2048


def token_budget() -> int:
    """How many padded tokens shall pass through a model at once on this machine."""
    return GPU_BUDGET_TOKENS if torch.cuda.is_available() else CPU_BUDGET_TOKENS


def pass_tokens() -> int:
    """What a pass through a model costs beside its tokens on this machine, in tokens."""
    return GPU_PASS_TOKENS if torch.cuda.is_available() else CPU_PASS_TOKENS


def chunks(
    lengths: Sequence[int], *, rows: int | None = None, tokens: int | None = None
) -> list[list[int]]:
    """Places in `lengths`, shortest first, in chunks of at most `rows`, and of at most `tokens`
    once padded, or of one place.

    Of all ways to cut the sorted rows, the one with the fewest padded tokens, each pass counted as
    `pass_tokens()` more; found from the left, the best cut before each row being known.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    each = pass_tokens()
    best = np.zeros(len(order) + 1)
    cuts = np.zeros(len(order) + 1, dtype=np.int64)
    for end in range(1, len(order) + 1):
        width = max(1, lengths[order[end - 1]])
        most = min(rows or end, tokens // width if tokens else end)
        start = max(0, end - max(1, most))
        costs = best[start:end] + width * np.arange(end - start, 0, -1)
        at = int(costs.argmin())
        best[end], cuts[end] = costs[at] + each, start + at
    found: list[list[int]] = []
    end = len(order)
    while end:
        found.append(order[cuts[end] : end])
        end = int(cuts[end])
    return found[::-1]
