"""The controlled world: prompts and responses of a few tokens, a gold reward, and a reference
policy, all small enough to enumerate.

After Gao, Schulman and Hilton (2022), "Scaling laws for reward model overoptimization", whose gold
reward was a large model; here it is a formula, and every expectation is a sum.
"""

import itertools
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Case = Literal["well-specified", "mis-specified", "trap"]

WORDS = 4
STEPS = 6
END = WORDS  # the token that ends a response
LETTERS = range(END + 1, END + 9)  # the tokens that prompts are written in
PROMPT_LETTERS = 3
PROMPT_DIMENSIONS = 2
VOCABULARY = LETTERS.stop
TRAP_WORD = 0
END_RARITY = 0.5
TRAP_RARITY = 0.7
TRAP_FREE = 2  # how often the trap's word may stand in a response before it does harm


@dataclass(frozen=True, slots=True)
class World:
    """P prompts, the N responses that each of them can get, and what they are worth.

    `prompts`: token ids, (P, 3). `vectors`: what prompts mean, (P, 2): each letter is a direction,
    and a prompt their sum. `responses`: token ids with
    END as the last where one ends early, padded with END, (N, 6); `lengths`: words, (N,).
    `published`: what the features of a response are made of (`features` makes them), (N, F).
    `gold`: the reward, mean 0 on each prompt and standard deviation 1 over all under the reference,
    (P, N). `logprobs`: the reference, (P, N); `next_word`: what it is made of, the log-probability
    of a token by the one before it, where END before means that there is none, (P, 5, 5). `train`
    and `test` index prompts.
    """

    case: Case
    prompts: NDArray[np.int64]
    vectors: Array
    responses: NDArray[np.int64]
    lengths: NDArray[np.int64]
    published: Array
    gold: Array
    logprobs: Array
    next_word: Array
    train: NDArray[np.int64]
    test: NDArray[np.int64]

    @property
    def num_features(self) -> int:
        return WORDS * PROMPT_DIMENSIONS + len(self.published[0])

    def features(self, prompt: NDArray[np.int64], response: NDArray[np.int64]) -> Array:
        """The published features of n (prompt, response) indices, (n, D): how often each word
        stands, times each coordinate of the prompt; then `published`.
        """
        own = self.published[response]
        crossed = own[:, :WORDS, None] * self.vectors[prompt][:, None, :]  # (n, words, dimensions)
        return np.concatenate([crossed.reshape(len(own), -1), own], 1)

    def rewards(self, weights: Array, prompts: NDArray[np.int64]) -> Array:
        """The reward that is linear in the features, of every response to `prompts`, (p, N)."""
        cut = WORDS * PROMPT_DIMENSIONS
        crossed = weights[:cut].reshape(WORDS, PROMPT_DIMENSIONS)
        by_word = self.vectors[prompts] @ crossed.T + weights[cut : cut + WORDS]  # (p, words)
        rest: Array = self.published[:, WORDS:] @ weights[cut + WORDS :]
        return by_word @ self.published[:, :WORDS].T + rest


def make_world(
    case: Case = "well-specified", *, seed: int = 0, num_prompts: int = 60, num_test: int = 20
) -> World:
    """A world of this case: the seed decides its prompts, its reference and what is gold in it.

    Well-specified: gold is linear in the published features. Mis-specified: a third of its
    variance is not (two words that go together, and the square of the length, which is then not
    published). Trap: a word that adds to gold as often as the reference says it, up to twice, and
    that costs twice as much each time beyond.
    """
    random = np.random.default_rng([17, seed])
    prompts = _prompts(random, num_prompts)
    angles = 2 * np.pi * (prompts - LETTERS.start) / len(LETTERS)
    vectors = np.stack([np.cos(angles), np.sin(angles)], 2).sum(1) * np.sqrt(2 / PROMPT_LETTERS)
    responses, lengths = all_responses()
    rare = TRAP_RARITY if case == "trap" else 0.0
    next_word = _next_word(random, vectors, rare)
    logprobs = _reference(next_word, responses)
    counts = (responses[:, :, None] == np.arange(WORDS)).sum(1).astype(float)  # (N, words)
    squared: Array = (lengths.astype(np.float64) - 3.0)[:, None] ** 2
    published = np.concatenate([counts, _doubles(responses), _first(responses)], 1)
    if case != "mis-specified":
        published = np.concatenate([published, squared], 1)
    published = (published - published.mean(0)) / published.std(0)
    order = random.permutation(num_prompts)
    world = World(
        case,
        prompts,
        vectors,
        responses,
        lengths,
        published,
        np.zeros_like(logprobs),
        logprobs,
        next_word,
        np.sort(order[num_test:]),
        np.sort(order[:num_test]),
    )
    gold = world.rewards(random.normal(size=world.num_features), np.arange(num_prompts))
    together = standardised(counts[:, 0] * counts[:, 1], logprobs)
    hidden: Array = together - standardised(squared[:, 0], logprobs)
    if case == "mis-specified":
        gold = standardised(gold, logprobs) + np.sqrt(0.5) * standardised(hidden, logprobs)
    if case == "trap":
        said = counts[:, TRAP_WORD]
        worth = np.minimum(said, TRAP_FREE) - 2 * np.maximum(said - TRAP_FREE, 0)
        gold = 0.5 * standardised(gold, logprobs) + standardised(worth, logprobs)
    return replace(world, gold=standardised(gold, logprobs))


def all_responses() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every response once, padded with END, (N, STEPS), and its length in words, (N,)."""
    rows = [
        (*words, *[END] * (STEPS - length))
        for length in range(STEPS + 1)
        for words in itertools.product(range(WORDS), repeat=length)
    ]
    made = np.array(rows)
    return made, (made != END).sum(1)


def _prompts(random: np.random.Generator, count: int) -> NDArray[np.int64]:
    written = np.array(list(itertools.product(LETTERS, repeat=PROMPT_LETTERS)))
    return np.sort(written[random.choice(len(written), count, replace=False)], 1)


def _next_word(random: np.random.Generator, vectors: Array, rare: float) -> Array:
    """What a policy writes next, by the token before and by the prompt: log-probabilities,
    (P, before, after); END stands where nothing is before. `rare` is taken from the logits of the
    trap's word.
    """
    tokens = WORDS + 1
    shape = (tokens, tokens)
    logits = 0.5 * random.normal(size=shape) + 0.4 * np.einsum(
        "pd,dab->pab", vectors, random.normal(size=(vectors.shape[1], *shape))
    )
    logits[:, :, END] -= END_RARITY
    logits[:, :, TRAP_WORD] -= rare
    normalised: Array = logits - np.log(np.exp(logits).sum(2, keepdims=True))
    return normalised


def _reference(next_word: Array, responses: NDArray[np.int64]) -> Array:
    """Log-probabilities of responses written a word at a time, (P, N)."""
    total = np.zeros((len(next_word), len(responses)))
    running = np.ones(len(responses), dtype=bool)
    before = np.full(len(responses), END)
    for column in responses.T:
        total += np.where(running, next_word[:, before, column], 0.0)
        running = running & (column != END)
        before = np.where(running, column, END)
    return total


def standardised(reward: Array, logprobs: Array) -> Array:
    """`reward` with mean 0 on each prompt and standard deviation 1 over all, under the reference;
    (P, N) from (P, N) or (N,).
    """
    chances = np.exp(logprobs)
    centred: Array = reward - (chances * reward).sum(1, keepdims=True)
    return centred / float(np.sqrt((chances * centred**2).sum(1).mean()))


def _doubles(responses: NDArray[np.int64]) -> Array:
    """How often each word follows itself, (N, words)."""
    same = responses[:, 1:] == responses[:, :-1]
    found = [(same & (responses[:, 1:] == word)).sum(1) for word in range(WORDS)]
    return np.stack(found, 1).astype(np.float64)


def _first(responses: NDArray[np.int64]) -> Array:
    """Which word comes first, (N, words); none where the response is empty."""
    said: Array = (responses[:, :1] == np.arange(WORDS)).astype(np.float64)
    return said
