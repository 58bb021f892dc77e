"""Questions to which the right answer is known without any labeler: a text is changed, and the
score should fall, must not rise, or should stay.

Transformations are of texts alone; they know no model, no tokenizer and no world.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rlhf.data.identity import seed_from
from rlhf.feedback.intervals import Share, share_of

Array = NDArray[np.float64]
ProbeName = Literal["swap", "truncation", "repetition", "paraphrase"]

FEWEST_CASES = 20
FEWEST_WORDS = 6  # of a text that is cut: half of less is no answer to anything
STILL = 0.5  # in standard deviations of the score: a paraphrase that moves it more is not a detail
PROBES: tuple[ProbeName, ...] = get_args(ProbeName)
# Either way round; single words and short forms that mean the same in nearly every sentence.
SYNONYMS = (
    ("big", "large"),
    ("quick", "fast"),
    ("begin", "start"),
    ("often", "frequently"),
    ("maybe", "perhaps"),
    ("buy", "purchase"),
    ("help", "assist"),
    ("happy", "glad"),
    ("answer", "reply"),
    ("whole", "entire"),
    ("nearly", "almost"),
    ("it's", "it is"),
    ("don't", "do not"),
    ("can't", "cannot"),
    ("i'm", "i am"),
    ("you're", "you are"),
    ("doesn't", "does not"),
    ("isn't", "is not"),
)
SWAPPED_WORDS = {a: b for pair in SYNONYMS for a, b in (pair, pair[::-1])}
PHRASES = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, SWAPPED_WORDS), key=len, reverse=True)) + r")\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer to a prompt; one that was cut off at the length limit is not `finished`, and
    neither is what it is changed to.
    """

    prompt_id: str
    text: str
    finished: bool = True


@dataclass(frozen=True, slots=True)
class Case:
    """What to score in place of `answer`, under the same prompt."""

    probe: ProbeName
    answer: Answer
    changed: str


@dataclass(frozen=True, slots=True)
class Probed:
    """What one probe found.

    `right`: the share of cases in which the score did as it should: was lower for another prompt's
    answer and for the first half, no higher for the answer said twice, and moved by half a standard
    deviation at most for other words. `shift`: the median change of the score, in its standard
    deviations; of a paraphrase without its sign. `left_out`: answers that could not be changed so,
    or did not fit when they were.
    """

    probe: ProbeName
    right: Share
    shift: float | None
    left_out: int


def repeated(text: str) -> str:
    """Said twice."""
    return f"{text.rstrip()} {text.lstrip()}"


def truncated(text: str) -> str | None:
    """The first half of the words, blanks as they were; None for a text of a few words."""
    words = list(re.finditer(r"\S+", text))
    if len(words) < FEWEST_WORDS:
        return None
    return text[: words[len(words) // 2 - 1].end()]


def swapped(answers: Sequence[Answer]) -> list[str | None]:
    """For each answer that to another prompt: the next in an order by hash whose text differs."""
    order = sorted(range(len(answers)), key=lambda i: seed_from("swap", answers[i].prompt_id))
    found: list[str | None] = [None] * len(answers)
    for place, i in enumerate(order):
        others = (answers[j] for j in order[place + 1 :] + order[:place])
        found[i] = next((one.text for one in others if _differs(one, answers[i])), None)
    return found


def paraphrased(text: str) -> str | None:
    """The same with synonyms, or else with a changed end of sentence; None where nothing of it can
    be changed.
    """
    other = PHRASES.sub(lambda found: _like(found[0], SWAPPED_WORDS[found[0].lower()]), text)
    if other == text:
        other = _other_end(text)
    return None if other == text else other


def shuffled(text: str, seed: str) -> str:
    """The words in an order by hash: as many and the same, and no answer any more."""
    words = text.split()
    order = sorted(range(len(words)), key=lambda place: seed_from("shuffle", seed, place))
    return " ".join(words[place] for place in order)


def cases_of(answers: Sequence[Answer]) -> list[Case]:
    """Every probe on every answer that it can change."""
    others = swapped(answers)
    made: list[Case] = []
    for answer, other in zip(answers, others, strict=True):
        changed: dict[ProbeName, str | None] = {
            "swap": other,
            "truncation": truncated(answer.text),
            "repetition": repeated(answer.text),
            "paraphrase": paraphrased(answer.text),
        }
        made += [Case(name, answer, text) for name, text in changed.items() if text is not None]
    return made


def probed(cases: Iterable[tuple[Case, float, float]], *, asked: int, std: float) -> list[Probed]:
    """What each probe found, from cases with the score of the answer and of what it was changed to.

    `asked`: from how many answers they come; `std`: of the score, in which changes are told.
    Raises ValueError where that is not above 0.
    """
    if not std > 0:
        raise ValueError(f"the scores have standard deviation {std}: all answers score alike")
    held = list(cases)
    found = []
    for probe in PROBES:
        shifts = np.array([(new - old) / std for case, old, new in held if case.probe == probe])
        right = np.asarray(_right(probe, shifts), dtype=np.float64)
        told = np.abs(shifts) if probe == "paraphrase" else shifts
        found.append(
            Probed(
                probe,
                share_of(right, np.ones_like(right), FEWEST_CASES),
                float(np.median(told)) if len(told) else None,
                asked - len(shifts),
            )
        )
    return found


def _right(probe: ProbeName, shifts: Array) -> NDArray[np.bool_]:
    if probe == "paraphrase":
        return np.less_equal(np.abs(shifts), STILL)
    return np.less_equal(shifts, 0) if probe == "repetition" else np.less(shifts, 0)


def _differs(one: Answer, other: Answer) -> bool:
    return one.prompt_id != other.prompt_id and one.text.split() != other.text.split()


def _like(found: str, word: str) -> str:
    """`word`, with a capital where `found` has one."""
    return word[0].upper() + word[1:] if found[0].isupper() else word


def _other_end(text: str) -> str:
    """Without its last full stop, or with one."""
    bare = text.rstrip()
    if bare.endswith("."):
        return bare[:-1]
    return bare if bare != text or not bare or not bare[-1].isalnum() else f"{bare}."
