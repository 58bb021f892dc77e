"""The bag of words: against scipy-free arithmetic, planted words, and no leak between folds."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq

from rlhf.data.records import Ranking
from rlhf.reward.bag_of_words import fit_bag_of_words, in_folds, worths
from rlhf.reward.votes import Votes, accuracy_of, votes_of


def said(
    pairs: list[tuple[str, str]], *, prompts: int | None = None
) -> tuple[Votes, dict[str, str]]:
    """Votes for the first of each pair of texts, and the texts."""
    texts: dict[str, str] = {}
    rankings = []
    for number, (better, worse) in enumerate(pairs):
        prompt = f"p{number % (prompts or len(pairs))}"
        ids = (f"{number}+", f"{number}-")
        texts |= dict(zip(ids, (better, worse), strict=True))
        groups = ((ids[0],), (ids[1],))
        one = Ranking.of(prompt_id=prompt, labeler_id="ann", groups=groups, shown=ids)
        rankings.append(one)
    return votes_of(rankings), texts


def test_two_words_by_hand() -> None:
    """Ten prompts say yes is better than no: 10 sigmoid(-m) ln 2 = ridge w, with m = 2 w ln 2."""
    votes, texts = said([("yes", "no")] * 10)
    model = fit_bag_of_words(votes, texts, ridge=3.0)
    step = math.log(2)
    slope = lambda w: 10 * step / (1 + math.exp(2 * w * step)) - 3 * w  # noqa: E731
    assert model.weights["yes"] == pytest.approx(brentq(slope, 0, 5), abs=1e-4)
    assert model.weights["no"] == pytest.approx(-model.weights["yes"], abs=1e-6)
    assert model.worth("Yes, yes.") == pytest.approx(model.weights["yes"] * math.log(3), abs=1e-9)
    assert model.worth("perhaps") == 0


def test_a_prompt_counts_once_however_many_votes_it_has() -> None:
    once = said([("yes", "no"), ("no", "yes"), ("yes", "no")])
    often = said([("yes", "no")] * 5 + [("no", "yes")] + [("yes", "no")])
    prompts = np.array(["a"] * 5 + ["b", "c"])
    votes = Votes(often[0].better, often[0].worse, often[0].labeler, prompts, often[0].margin)
    assert fit_bag_of_words(votes, often[1]).weights["yes"] == pytest.approx(
        fit_bag_of_words(*once).weights["yes"], abs=1e-5
    )


def test_planted_words_are_found_and_noise_is_not() -> None:
    random = np.random.default_rng(2)
    words = [f"w{n}" for n in range(30)]
    pairs = []
    for _ in range(400):
        one, two = (list(random.choice(words, 6)) for _ in range(2))
        one, two = sorted((one, two), key=lambda held: -held.count("w0") + held.count("w1"))
        pairs.append((" ".join(one), " ".join(two)))
    votes, texts = said(pairs)
    weights = fit_bag_of_words(votes, texts).weights
    rest = [weights[word] for word in words[2:]]
    assert weights["w0"] > 2 * max(rest)
    assert weights["w1"] < 2 * min(rest)


def test_folds_are_of_prompts_and_never_saw_their_own() -> None:
    """Texts that are each said once, by prompt: a model that saw its own fold would be right."""
    random = np.random.default_rng(5)
    pairs = [(f"a{n} b{n}", f"c{n} d{n}") for n in range(60)] * 2
    votes, texts = said(pairs, prompts=60)
    assert list(in_folds(votes, texts)) == [0.0] * 120
    noise = [(f"x{random.integers(9)}", f"x{random.integers(9)}") for _ in range(300)]
    votes, texts = said(noise)
    assert accuracy_of(votes, in_folds(votes, texts)).value == pytest.approx(0.5, abs=0.1)
    seen = worths(fit_bag_of_words(votes, texts), texts, texts)
    assert accuracy_of(votes, votes.gaps(seen)).value > 0.5


def test_no_vote_is_refused() -> None:
    votes, texts = said([("yes", "no")])
    with pytest.raises(ValueError, match="no vote to fit a bag of words on"):
        fit_bag_of_words(votes.among(()), texts)
