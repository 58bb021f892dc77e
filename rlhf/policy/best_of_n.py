"""Best-of-n: of n samples, the one that the reward model likes most. What it is worth, from one
pool of samples; and a policy fine-tuned on what was chosen (rejection sampling).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb
from statistics import fmean

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.data.identity import Json, seed_from
from rlhf.models.generation import Completion, Sampling, sample
from rlhf.models.loading import eos_token_id, pad_token_id
from rlhf.policy.rewards import check_numbers
from rlhf.policy.rollout import PromptIds
from rlhf.reward.scorer import Scorer


def pool_estimate(scores: Sequence[float], values: Sequence[float], n: int) -> float:
    """The mean value of the best of n samples by score, over all subsets of n of the pool.

    `values` may be the scores, or what another judge says. Unbiased for best-of-n of the policy
    that wrote the pool; of equal scores the later one counts as better. Nakano et al. (2021),
    WebGPT, appendix I. Raises ValueError for an n that the pool cannot give.
    """
    size = len(scores)
    if not 1 <= n <= size or len(values) != size:
        raise ValueError(f"cannot take the best of {n} from {size} scores and {len(values)} values")
    order = sorted(range(size), key=scores.__getitem__)
    chances = [comb(rank, n - 1) / comb(size, n) for rank in range(size)]
    return sum(chance * values[i] for chance, i in zip(chances, order, strict=True))


@dataclass(frozen=True, slots=True)
class Choice:
    """The response that was chosen for a prompt: its ids, EOS included, and its reward."""

    prompt: PromptIds
    ids: tuple[int, ...]
    reward: float


def choose(
    prompts: Sequence[PromptIds],
    pools: Sequence[Sequence[Completion]],
    rewards: Sequence[Sequence[float]],
    quantile: float,
) -> tuple[list[Choice], int]:
    """The best finished response of each prompt, without the lowest share `quantile` of them; and
    how many prompts had no finished one, and are left out.

    An unfinished response is never chosen: a policy that learned from it would learn not to end.
    """
    best = []
    for prompt, pool, worth in zip(prompts, pools, rewards, strict=True):
        finished = [i for i, one in enumerate(pool) if one.finished]
        if finished:
            top = max(finished, key=worth.__getitem__)
            best.append(Choice(prompt, pool[top].ids, worth[top]))
    dropped = int(quantile * len(best))
    kept = sorted(range(len(best)), key=lambda i: best[i].reward)[dropped:]
    return [best[i] for i in sorted(kept)], len(prompts) - len(best)


def sample_and_choose(
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    scorer: Scorer,
    prompts: Sequence[PromptIds],
    sampling: Sampling,
    *,
    num_samples: int,
    quantile: float,
    seed: int,
    batch_size: int,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> tuple[list[Choice], Json]:
    """Draws `num_samples` per prompt and chooses; (seed, prompt, number) decides a draw.

    Returns the choices and the figures: how many, and `reward_best_of`, the mean reward of the
    best of n for n in powers of two, by `pool_estimate`. Raises FloatingPointError for a reward
    that is no number, and ValueError where there is nothing to draw.
    """
    if not prompts or num_samples < 1:
        raise ValueError(
            f"there is nothing to choose from in {num_samples} samples of each of {len(prompts)} "
            "prompts: give prompts, and num_samples above 0"
        )
    wanted = [(prompt, number) for prompt in prompts for number in range(num_samples)]
    drawn = sample(
        policy,
        [prompt.ids for prompt, _ in wanted],
        [seed_from("rejection", seed, prompt.id, number) for prompt, number in wanted],
        sampling,
        eos_token_id=eos_token_id(tokenizer),
        pad_token_id=pad_token_id(tokenizer),
        batch_size=batch_size,
        progress=progress,
    )
    scores = scorer.score([prompt.ids for prompt, _ in wanted], [one.ids for one in drawn])
    check_numbers(scores, [one.ids for one in drawn])
    starts = range(0, len(wanted), num_samples)
    pools = [drawn[i : i + num_samples] for i in starts]
    rewards = [scores[i : i + num_samples] for i in starts]
    chosen, unfinished = choose(prompts, pools, rewards, quantile)
    sizes = [2**i for i in range(num_samples.bit_length()) if 2**i <= num_samples]
    figures: Json = {
        "prompts": len(prompts),
        "chosen": len(chosen),
        "prompts_without_finished": unfinished,
        "reward_best_of": {
            str(n): round(fmean(pool_estimate(row, row, n) for row in rewards), 6) for n in sizes
        },
    }
    if chosen:
        figures["reward_chosen"] = round(fmean(one.reward for one in chosen), 6)
    return chosen, figures
