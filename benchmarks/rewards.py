"""Rewards of the controlled world, learned from labels: each is a value of every response, (p, N),
to the prompts asked for.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import LlamaConfig, LlamaForSequenceClassification

from benchmarks.crew import Labels
from benchmarks.world import END, STEPS, VOCABULARY, WORDS, Array, World
from rlhf.reward.labelers import RIDGE, Comparisons, plain_weights

MEMBERS = 5
SMOOTHING = 0.1
RARE_RIDGE = 1.0  # what stands seldom is to be learned from few labels
Prompts = NDArray[np.int64]
Reward = Callable[[Prompts], Array]


def comparisons_of(world: World, labels: Labels) -> Comparisons:
    """The labels with the published features; habits: the longer one, the one shown first."""
    first = world.features(labels.prompt, labels.first)
    second = world.features(labels.prompt, labels.second)
    difference: Array = first - second
    longer = np.sign(world.lengths[labels.first] - world.lengths[labels.second])
    return Comparisons(
        difference,
        labels.vote,
        labels.labeler,
        np.stack([longer, np.ones(len(labels))], 1).astype(np.float64),
        labels.prompt,
        np.ones(len(labels)),
    )


def smoothed(made: Comparisons) -> Array:
    """Weights by Bradley-Terry on votes that are believed 90 %: cDPO's loss."""
    return plain_weights(replace(made, vote=SMOOTHING + (1 - 2 * SMOOTHING) * made.vote))


def squared(made: Comparisons) -> Array:
    """Weights by least squares on votes as -1, 0, 1: IPO's loss with a margin of 1."""
    gram = made.difference.T @ made.difference + RIDGE * np.eye(made.difference.shape[1])
    weights = np.linalg.solve(gram, made.difference.T @ (2 * made.vote - 1))
    return np.asarray(weights, dtype=np.float64)


def by_count(world: World, labels: Labels) -> Reward:
    """Linear in the published features and in how often each word stands, each number of times for
    itself: it can learn that the third time is once too often, which no linear feature says.
    """
    counts = (world.responses[:, :, None] == np.arange(WORDS)).sum(1)  # (N, words)
    hot = (counts[:, :, None] == np.arange(STEPS + 1)).reshape(len(counts), -1).astype(float)
    made = comparisons_of(world, labels)
    apart = hot[labels.first] - hot[labels.second]
    both = replace(made, difference=np.concatenate([made.difference, apart], 1))
    weights = plain_weights(both, ridge=RARE_RIDGE)
    cut = world.num_features
    return lambda prompts: world.rewards(weights[:cut], prompts) + hot @ weights[cut:]


def ensemble(world: World, made: Comparisons, prompts: Prompts, *, seed: int) -> Array:
    """Rewards of plain models on bootstrapped labels, at zero mean and unit scale on each prompt
    under the reference, (MEMBERS, p, N).
    """
    random = np.random.default_rng([31, seed])
    chances = np.exp(world.logprobs[prompts])
    members = []
    for _ in range(MEMBERS):
        drawn = made[random.integers(len(made), size=len(made))]
        reward = world.rewards(plain_weights(drawn), prompts)
        centred = reward - (chances * reward).sum(1, keepdims=True)
        members.append(centred / np.sqrt((chances * centred**2).sum(1).mean()))
    return np.stack(members)


def from_tokens(world: World, labels: Labels, *, seed: int, epochs: int = 12) -> Reward:
    """A small Llama that reads the tokens of prompt and response, trained by Bradley-Terry.

    It knows nothing of the features. A response that ends early is padded with END, which it sees.
    """
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=16,
        pad_token_id=None,
        bos_token_id=None,
        eos_token_id=END,
    )
    config.num_labels = 1
    model = LlamaForSequenceClassification(config)
    votes = torch.tensor(labels.vote, dtype=torch.float32)
    first, second = (
        torch.tensor(np.concatenate([world.prompts[labels.prompt], world.responses[one]], 1))
        for one in (labels.first, labels.second)
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1)
    for _ in range(epochs):
        for index in torch.randperm(len(labels)).split(64):
            margin = _last(model, first[index]) - _last(model, second[index])
            optimizer.zero_grad()
            binary_cross_entropy_with_logits(margin, votes[index]).backward()
            optimizer.step()
    model.eval()

    @torch.inference_mode()
    def rewards(prompts: Prompts) -> Array:
        rows = []
        for prompt in world.prompts[prompts]:
            asked = np.broadcast_to(prompt, (len(world.responses), len(prompt)))
            ids = torch.tensor(np.concatenate([asked, world.responses], 1))
            rows.append(torch.cat([_last(model, chunk) for chunk in ids.split(512)]))
        return torch.stack(rows).double().numpy()

    return rewards


def _last(model: LlamaForSequenceClassification, ids: torch.Tensor) -> torch.Tensor:
    """The score at the last position, (B,): every row is full, there is no padding to skip."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, -1]
    score: torch.Tensor = model.score(hidden)[:, 0]
    return score
