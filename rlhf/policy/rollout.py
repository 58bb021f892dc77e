"""One rollout: prompts go in; responses with everything that PPO needs to learn from them come
out.
"""

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from transformers import PreTrainedModel

from rlhf.data.identity import seed_from
from rlhf.data.records import Message
from rlhf.models.batching import CHUNK_ROWS, Rows, make_rows, per_token, response_logprobs
from rlhf.models.generation import Completion, Sampling, sample
from rlhf.policy.advantages import (
    gae,
    masked_mean,
    masked_whiten,
    shaped_scores,
    token_rewards,
)
from rlhf.policy.backends import Agreement, Backend
from rlhf.policy.kl import Estimator, estimate_kl, kl_k1, kl_k3
from rlhf.policy.phases import Clock
from rlhf.policy.ppo_models import ActorCritic, read_in_chunks
from rlhf.policy.processes import Processes
from rlhf.policy.rewards import Rewards

# Each keeps keys and values as wide as the longest prompt among them; more do not go faster.
SAMPLED_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class PromptIds:
    """A prompt to roll out from: its record id and its token ids; and the conversation that these
    are of, where the data set told it.
    """

    id: str
    ids: tuple[int, ...]
    messages: tuple[Message, ...] = ()


@dataclass(frozen=True, slots=True)
class Measured:
    """B responses and what the models say of them: `logprobs`, `reference`, `entropies`, `values`
    are (B, T), 0 outside the response; `rewards` (B,) as they were given; `finished` (B,) is 1
    where the response ended by itself.
    """

    rows: Rows
    logprobs: torch.Tensor
    reference: torch.Tensor
    entropies: torch.Tensor
    values: torch.Tensor
    rewards: torch.Tensor
    finished: torch.Tensor


@dataclass(frozen=True, slots=True)
class Rollout:
    """B responses, as rows of T tokens; all per-token tensors are (B, T), 0 outside the response.

    `scores` (B,) after penalties; `kl` is the estimate that is charged; `values` are of the state
    before each token; `rewards` (B,) as the reward gave them; `finished` (B,) is 1 where the
    response ended by itself.
    """

    rows: Rows
    logprobs: torch.Tensor
    reference: torch.Tensor
    entropies: torch.Tensor
    kl: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    scores: torch.Tensor
    rewards: torch.Tensor
    finished: torch.Tensor

    def __getitem__(self, index: torch.Tensor) -> "Rollout":
        return Rollout(*(getattr(self, field.name)[index] for field in fields(self)))

    def trimmed(self) -> "Rollout":
        """Without the columns that are padding in every row."""
        start = self.rows.input_ids.shape[1] - int(self.rows.attention_mask.sum(1).max())
        cut: list[Any] = [self.rows.columns(start)]
        for one in fields(self)[1:]:
            value = getattr(self, one.name)
            cut.append(value[:, start:] if value.dim() == 2 else value)
        return Rollout(*cut)


@dataclass(frozen=True, slots=True)
class Shaping:
    """How scores become advantages."""

    kl_coef: float
    gamma: float = 1.0
    lam: float = 0.95
    kl_estimator: Estimator = "k1"
    reward_clip: float | None = None
    missing_eos_penalty: float = 0.0
    length_penalty: float = 0.0
    whiten_rewards: bool = False
    whiten_advantages: bool = True


def shape(measured: Measured, shaping: Shaping) -> Rollout:
    """Scores with penalties, KL-shaped token rewards, advantages and returns of a whole rollout."""
    mask = measured.rows.response_mask
    scores = shaped_scores(
        measured.rewards,
        measured.finished,
        mask.sum(1),
        reward_clip=shaping.reward_clip,
        missing_eos_penalty=shaping.missing_eos_penalty,
        length_penalty=shaping.length_penalty,
    )
    kl = estimate_kl(measured.logprobs, measured.reference, shaping.kl_estimator)
    rewards = token_rewards(scores, kl, mask, shaping.kl_coef)
    if shaping.whiten_rewards:
        rewards = masked_whiten(rewards, mask, shift_mean=False)
    advantages, returns = gae(rewards, measured.values, mask, shaping.gamma, shaping.lam)
    if shaping.whiten_advantages:
        advantages = masked_whiten(advantages, mask)
    return Rollout(
        measured.rows,
        measured.logprobs,
        measured.reference,
        measured.entropies,
        kl,
        measured.values,
        advantages,
        returns,
        scores,
        measured.rewards,
        measured.finished,
    )


@dataclass(frozen=True, slots=True)
class Roller:
    """What stays the same over the rollouts of a training: the frozen models and how to sample.

    `reference` is None where the policy without its adapters is the reference. `batch_size` are
    the responses that are sampled at once and the rows that are read at once; None samples
    `SAMPLED_AT_ONCE`, prompts of like length together. `autocast` is the context in which models
    run. A `backend` samples in the policy's place; `agreement` says how far its log-probs were from
    what the policy was read to say.
    """

    rewards: Rewards
    sampling: Sampling
    seed: int
    eos_token_id: int
    pad_token_id: int
    reference: PreTrainedModel | None = None
    batch_size: int | None = None
    processes: Processes = field(default_factory=Processes)
    clock: Clock = field(default_factory=Clock)
    autocast: Any = nullcontext
    backend: Backend | None = None
    agreement: Agreement = field(default_factory=Agreement)

    def roll(self, models: ActorCritic, prompts: Sequence[PromptIds], number: int) -> Measured:
        """Rollout `number`: its random numbers come from (seed, prompt id, number) and nothing
        else; a prompt that stands in it again gets another draw. Every process takes its part of
        the prompts, and all of them get the whole.
        """
        seeds = rollout_seeds(prompts, self.seed, number)
        mine = self.processes.part(len(prompts))
        completions = self.complete(models, prompts[mine], seeds[mine])
        measured = self.measure(models, prompts[mine], completions)
        if self.backend is not None:  # one verdict for all: else some would stop and others wait
            self.agreement.over(self.processes, models.policy.device)
        return self.processes.gathered(measured, self.pad_token_id)

    def complete(
        self, models: ActorCritic, prompts: Sequence[PromptIds], seeds: Sequence[int]
    ) -> list[Completion]:
        """One response to each prompt."""
        asked = [prompt.ids for prompt in prompts]
        if self.backend is not None:
            # Not under autocast: weights that it makes for its engine would be rounded.
            with self.clock("generate"):
                return self.backend.complete(asked, seeds)
        with self.clock("generate"), self.autocast():
            return sample(
                models.policy,
                asked,
                seeds,
                self.sampling,
                eos_token_id=self.eos_token_id,
                pad_token_id=self.pad_token_id,
                batch_size=self.batch_size or SAMPLED_AT_ONCE,
            )

    @torch.no_grad()
    def measure(
        self,
        models: ActorCritic,
        prompts: Sequence[PromptIds],
        completions: Sequence[Completion],
    ) -> Measured:
        """Log-probs, values and rewards of completions; shortest rows first, none with a
        gradient.
        """
        asked = [prompt.ids for prompt in prompts]
        answers = [completion.ids for completion in completions]
        device = models.policy.device
        rows = make_rows(asked, answers, self.pad_token_id).to(device)
        heat, size = self.sampling.temperature, self.batch_size or CHUNK_ROWS
        with self.clock("read"), self.autocast():
            read = read_in_chunks(lambda part: models.read(part, heat), rows, size)
        with self.clock("reference"), self.autocast():
            reference = self._reference_logprobs(models, rows, size)
        self.agreement.note(completions, read.logprobs, rows.response_mask)
        finished = torch.tensor([c.finished for c in completions], device=device).float()
        with self.clock("reward"), torch.inference_mode():
            rewards = _numbers(self.rewards.score(asked, answers), finished)
        return Measured(
            rows,
            read.logprobs,
            reference,
            read.entropies,
            read.values,
            rewards.clone(),
            finished,
        )

    def _reference_logprobs(self, models: ActorCritic, rows: Rows, size: int) -> torch.Tensor:
        heat = self.sampling.temperature

        def compute(model: Any) -> torch.Tensor:
            with torch.inference_mode():
                return per_token(lambda part: response_logprobs(model, part, heat), rows, size)

        if self.reference is not None:
            return compute(self.reference).clone()
        switched = models.as_reference()
        assert switched is not None, "a policy without adapters needs a reference model"
        model = models.policy
        with switched:
            return compute(model).clone()


def _numbers(given: Any, finished: torch.Tensor) -> torch.Tensor:
    """Rewards (B,) as a tensor like `finished` (B,). Raises ValueError where they are not that."""
    try:
        rewards = torch.as_tensor(given, dtype=finished.dtype, device=finished.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"the reward model must give one number for each response: {error}"
        ) from error
    if rewards.shape != finished.shape:
        raise ValueError(
            f"the reward model gave scores of shape {tuple(rewards.shape)} for {len(finished)} "
            "responses: it must give one number for each"
        )
    return rewards


def rollout_seeds(prompts: Sequence[PromptIds], seed: int, number: int) -> list[int]:
    """A seed for each prompt of a rollout, a function of (seed, prompt id, rollout, how often the
    prompt stood in it before).
    """
    seen: Counter[str] = Counter()
    seeds = []
    for prompt in prompts:
        again = (seen[prompt.id],) if seen[prompt.id] else ()
        seeds.append(seed_from("rollout", seed, prompt.id, number, *again))
        seen[prompt.id] += 1
    return seeds


def rollout_numbers(rollout: Rollout, kl_coef: float, eos_token_id: int) -> dict[str, float]:
    """What a rollout shows before anything is learned from it; sums are per response."""
    rows, mask = rollout.rows, rollout.rows.response_mask
    residual = masked_mean((rollout.returns - rollout.values) ** 2, mask)
    spread = masked_mean((rollout.returns - masked_mean(rollout.returns, mask)) ** 2, mask)
    charged = (rollout.kl * mask).sum(1).mean()
    k1, k3 = (
        (estimate(rollout.logprobs, rollout.reference) * mask).sum(1).mean()
        for estimate in (kl_k1, kl_k3)
    )
    numbers = {
        "objective/kl": charged,
        "objective/kl_k1": k1,
        "objective/kl_k3": k3,
        "objective/kl_coef": torch.tensor(kl_coef),
        "objective/entropy": -(rollout.logprobs * mask).sum(1).mean(),
        "objective/non_score_reward": -kl_coef * charged,
        "objective/rlhf_reward": rollout.scores.mean() - kl_coef * charged,
        "objective/scores": rollout.scores.mean(),
        "objective/scores_std": rollout.scores.std(correction=0),
        "objective/rewards": rollout.rewards.mean(),
        "objective/finished": rollout.finished.mean(),
        "objective/response_tokens": mask.sum(1).float().mean(),
        # Of returns that are all equal there is no variance to explain.
        "val/explained_variance": torch.where(spread > 1e-8, 1 - residual / spread, 0.0),
        "val/num_eos_tokens": ((rows.input_ids == eos_token_id) & mask.bool()).sum(),
    }
    return {name: float(value) for name, value in numbers.items()}


def what_is_wrong(rollout: Rollout, kl_limit: float | None) -> str | None:
    """What no update may see: a reward, a log-probability or a value that is no number, a KL beyond
    the limit.
    """
    if not torch.isfinite(rollout.rewards).all():
        row = int((~torch.isfinite(rollout.rewards)).nonzero()[0])
        ids = rollout.rows.input_ids[row][rollout.rows.attention_mask[row].bool()].tolist()
        return (
            f"the reward of a response is {float(rollout.rewards[row])} (its tokens end in "
            f"{ids[-16:]}): look at the reward model or the reward function"
        )
    for name, read, whose in (
        ("log-probabilities", rollout.logprobs, "policy"),
        ("log-probabilities", rollout.reference, "reference"),
        ("values", rollout.values, "value model"),
    ):
        if not torch.isfinite(read).all():
            return (
                f"the {name} of the {whose} are not numbers: its weights are broken, or the "
                "training diverged and learning_rate must be lower"
            )
    kl = float((rollout.kl * rollout.rows.response_mask).sum(1).mean())
    if math.isfinite(kl) and (kl_limit is None or kl <= kl_limit):
        return None
    return (
        f"the policy is {kl:.1f} nats a response from its reference, beyond kl_limit ({kl_limit}): "
        "raise kl_coef or set kl_target, or lower learning_rate"
    )
