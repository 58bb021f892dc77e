"""What the votes of held-out prompts say of a reward model's scores."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from rlhf.data.records import Ranking, Split
from rlhf.feedback.agreement import pair_agreement
from rlhf.reward.accuracy import Accuracy
from rlhf.reward.bag_of_words import fit_bag_of_words, worths
from rlhf.reward.calibration import calibration_of, fit_temperature
from rlhf.reward.certificate import Ceiling, Evidence, Part
from rlhf.reward.votes import Votes, accuracy_of, gain_of, share_right

FEWEST_PROMPTS = 15  # of one labeler or one margin, before anything is said of it
FEWEST_FOR_TEMPERATURE = 50


def evidence_on(
    votes: Mapping[Split, Votes],
    scores: Mapping[str, float],
    texts: Mapping[str, str],
    *,
    scale: float,
    strangers: Collection[str] = (),
) -> Evidence:
    """What can be said from `votes`, by split, and from `scores` and `texts` of responses, by id.

    Of the train split, some responses may have no score. `scale` turns a difference of scores into
    log-odds. `strangers` are labelers that the model was not trained on: their votes count apart.
    """
    known = {name: without(one, strangers) for name, one in votes.items()}
    split = held_out_split(known)
    if split is None:
        return Evidence()
    held = known[split]
    gaps = held.gaps(scores)
    temperature, fitted_on = _temperature(known, split, scores, scale)
    words, gain_over_words = _beside_words(known["train"], held, gaps, texts)
    length = {one: float(len(text.split())) for one, text in texts.items()}
    apart = votes[split].where(np.isin(votes[split].labeler, list(strangers)))
    return Evidence(
        split=split,
        accuracy=accuracy_of(held, gaps),
        train=_accuracy(known["train"].among(scores), scores),
        validation=_accuracy(known["validation"], scores),
        longest=accuracy_of(held, held.gaps(length)),
        gain_over_longest=gain_of(held, gaps, held.gaps(length)),
        words=words,
        gain_over_words=gain_over_words,
        by_margin=_parts(held, gaps, held.margin),
        by_labeler=_parts(held, gaps, held.labeler),
        held_out_labelers=_strangers(apart, scores),
        calibration=calibration_of(scale * gaps),
        calibrated=None if temperature is None else calibration_of(scale * gaps / temperature),
        temperature=temperature,
        temperature_votes=fitted_on,
    )


def held_out_split(votes: Mapping[Split, Votes]) -> Split | None:
    """Where a model is measured: on test, or on validation where test has no votes."""
    splits: tuple[Split, ...] = ("test", "validation")
    return next((split for split in splits if len(votes[split])), None)


def without(votes: Votes, labelers: Collection[str]) -> Votes:
    """The votes of all others."""
    return votes.where(~np.isin(votes.labeler, list(labelers)))


def ceiling_of(rankings: Iterable[Ranking]) -> Ceiling | None:
    """What the labelers' own agreement allows; None where no two judged the same pair."""
    found = pair_agreement(rankings)
    if found.strict is None:
        return None
    return Ceiling.of(found.strict, found.strict_interval, found.pairs_strict)


def best_responses(votes: Votes) -> dict[str, str]:
    """Prompt id -> the response that won most of its votes, less those it lost; of equals, the
    first by id.
    """
    net: dict[str, Counter[str]] = defaultdict(Counter)
    for prompt, better, worse in zip(votes.prompt, votes.better, votes.worse, strict=True):
        net[str(prompt)][better] += 1
        net[str(prompt)][worse] -= 1
    return {
        prompt: min(won, key=lambda one: (-won[one], one)) for prompt, won in sorted(net.items())
    }


def _strangers(votes: Votes, scores: Mapping[str, float]) -> Part | None:
    if not len(votes):
        return None
    number = len(np.unique(votes.labeler))
    name = "1 labeler" if number == 1 else f"{number} labelers"
    return Part(name, share_right(votes, votes.gaps(scores), FEWEST_PROMPTS))


def _accuracy(votes: Votes, scores: Mapping[str, float]) -> Accuracy | None:
    return accuracy_of(votes, votes.gaps(scores)) if len(votes) else None


def _temperature(
    votes: Mapping[Split, Votes], split: Split, scores: Mapping[str, float], scale: float
) -> tuple[float | None, int]:
    """Fitted on validation, and on nothing else: where that is what is measured, there is none."""
    fitted_on = len(votes["validation"])
    if split == "validation" or fitted_on < FEWEST_FOR_TEMPERATURE:
        return None, fitted_on
    return fit_temperature(scale * votes["validation"].gaps(scores)), fitted_on


def _beside_words(
    train: Votes, held: Votes, gaps: NDArray[np.float64], texts: Mapping[str, str]
) -> tuple[Accuracy | None, Accuracy | None]:
    if not len(train):
        return None, None
    model = fit_bag_of_words(train, texts)
    theirs = held.gaps(worths(model, texts, (*held.better, *held.worse)))
    return accuracy_of(held, theirs), gain_of(held, gaps, theirs)


def _parts(
    votes: Votes, gaps: NDArray[np.float64], names: NDArray[np.str_] | NDArray[np.int64]
) -> tuple[Part, ...]:
    """Accuracy on the votes of each name; those of few prompts are counted and not judged."""
    return tuple(
        Part(
            str(name), share_right(votes.where(names == name), gaps[names == name], FEWEST_PROMPTS)
        )
        for name in np.unique(names)
    )
