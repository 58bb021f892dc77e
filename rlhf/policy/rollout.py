"""One rollout: prompts go in; responses with everything that PPO needs to learn from them come
out.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlhf.data.identity import seed_from
from rlhf.models.batching import Rows, hidden_states, make_rows, per_token, response_logprobs
from rlhf.models.generation import Completion, Sampling, sample
from rlhf.models.loading import eos_token_id, pad_token_id
from rlhf.policy.advantages import gae, kl_k1, masked_whiten, token_rewards
from rlhf.reward.scorer import Scorer


@dataclass(frozen=True, slots=True)
class PromptIds:
    """A prompt to roll out from: its record id and its token ids."""

    id: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rollout:
    """B responses, as rows of T tokens; all per-token tensors are (B, T), 0 outside the response.

    `scores` (B,) after the missing-EOS penalty; `kl` is k1 to the reference; `values` are of the
    state before each token; `finished` (B,) is 1 where the response ended by itself.
    """

    rows: Rows
    logprobs: torch.Tensor
    kl: torch.Tensor
    values: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor
    scores: torch.Tensor
    finished: torch.Tensor

    def __getitem__(self, index: torch.Tensor) -> "Rollout":
        return Rollout(*(getattr(self, field.name)[index] for field in fields(self)))

    def trimmed(self) -> "Rollout":
        """Without the columns that are padding in every row."""
        start = self.rows.input_ids.shape[1] - int(self.rows.attention_mask.sum(1).max())
        return Rollout(
            self.rows.columns(start),
            self.logprobs[:, start:],
            self.kl[:, start:],
            self.values[:, start:],
            self.advantages[:, start:],
            self.returns[:, start:],
            self.scores,
            self.finished,
        )


@dataclass(frozen=True, slots=True)
class Roller:
    """What stays the same over the rollouts of a training: the frozen models and how to sample and
    to shape.
    """

    tokenizer: PreTrainedTokenizerBase
    reference: PreTrainedModel
    scorer: Scorer
    sampling: Sampling
    seed: int
    kl_coef: float
    gamma: float
    lam: float
    missing_eos_penalty: float
    whiten_advantages: bool = True

    def roll(
        self,
        policy: PreTrainedModel,
        value_model: PreTrainedModel,
        prompts: Sequence[PromptIds],
        number: int,
    ) -> Rollout:
        """Rollout `number`: its random numbers come from (seed, prompt id, number) and nothing
        else; a prompt that stands in it again gets another draw.
        """
        completions = sample(
            policy,
            [prompt.ids for prompt in prompts],
            self._seeds(prompts, number),
            self.sampling,
            eos_token_id=eos_token_id(self.tokenizer),
            pad_token_id=pad_token_id(self.tokenizer),
            batch_size=len(prompts),
        )
        return self.evaluate(policy, value_model, prompts, completions)

    def _seeds(self, prompts: Sequence[PromptIds], number: int) -> list[int]:
        seen: Counter[str] = Counter()
        seeds = []
        for prompt in prompts:
            again = (seen[prompt.id],) if seen[prompt.id] else ()
            seeds.append(seed_from("rollout", self.seed, prompt.id, number, *again))
            seen[prompt.id] += 1
        return seeds

    @torch.no_grad()
    def evaluate(
        self,
        policy: PreTrainedModel,
        value_model: PreTrainedModel,
        prompts: Sequence[PromptIds],
        completions: Sequence[Completion],
    ) -> Rollout:
        """Log-probs, values, KL-shaped rewards and advantages of completions."""
        asked = [prompt.ids for prompt in prompts]
        answers = [completion.ids for completion in completions]
        rows = make_rows(asked, answers, pad_token_id(self.tokenizer)).to(policy.device)
        mask = rows.response_mask
        heat = self.sampling.temperature
        logprobs = per_token(lambda part: response_logprobs(policy, part, heat), rows)
        reference = per_token(lambda part: response_logprobs(self.reference, part, heat), rows)
        values = per_token(lambda part: state_values(value_model, part, self.scorer.shift), rows)
        finished = torch.tensor([c.finished for c in completions], device=policy.device).float()
        scores = torch.tensor(self.scorer.score(asked, answers), device=policy.device)
        scores = scores - self.missing_eos_penalty * (1 - finished)
        kl = kl_k1(logprobs, reference)
        rewards = token_rewards(scores, kl, mask, self.kl_coef)
        advantages, returns = gae(rewards, values, mask, self.gamma, self.lam)
        if self.whiten_advantages:
            advantages = masked_whiten(advantages, mask)
        return Rollout(rows, logprobs, kl, values, advantages, returns, scores, finished)


def state_values(value_model: Any, rows: Rows, shift: float) -> torch.Tensor:
    """Value of the state before each response token, (B, T) in float32 (float64 stays); 0
    elsewhere.

    The value model has the reward model's shape, so its shift is taken off here too.
    """
    values = value_model.score(hidden_states(value_model, rows))[..., 0]  # (B, T)
    values = (values if values.dtype == torch.float64 else values.float()) - shift
    before = torch.nn.functional.pad(values[:, :-1], (1, 0))
    return torch.where(rows.response_mask.bool(), before, 0.0)
