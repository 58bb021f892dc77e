"""What labelers can be asked: each mode says what is asked, how an answer is checked, and which
pairs follow from it.

An answer comes as JSON from a page or a program and is not believed: `check` refuses what does not
fit the responses that were shown, and returns what it means.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rlhf.data.identity import Json
from rlhf.data.records import Ranking

MAX_RESPONSES = 9
MAX_TEXT_CHARACTERS = 50_000
Feeds = Literal["preferences", "sft", "evaluation"]
Pair = tuple[str, str, int]

# Margins of a comparison, strongest first, and the flags of InstructGPT's form (Ouyang et al. 2022,
# table 3).
STRENGTHS = {"significantly": 3, "better": 2, "slightly": 1, "same": 0}
RESPONSE_FLAGS = (
    "fails_instruction",
    "inappropriate",
    "hallucination",
    "ignores_constraint",
    "sexual",
    "violent",
    "encourages_harm",
    "denigrates",
    "harmful_advice",
    "expresses_opinion",
    "moral_judgement",
)
Rank = Annotated[int, Field(ge=1, le=MAX_RESPONSES)]
Rating = Annotated[int, Field(ge=1, le=7)]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an answer means: an order of the responses (best group first), or a text."""

    groups: tuple[tuple[str, ...], ...] = ()
    none_acceptable: bool = False
    details: Json = field(default_factory=dict)
    text: str | None = None


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Mode:
    """A kind of question. `responses` is how few and how many an item may hold."""

    name: ClassVar[str]
    feeds: ClassVar[Feeds]
    responses: ClassVar[tuple[int, int]]
    Answer: ClassVar[type[_Answer]]

    def parse(self, answer: Json) -> Any:
        """The answer's fields; ValueError that names the first one that does not fit."""
        try:
            return self.Answer.model_validate(answer)
        except ValidationError as error:
            first = error.errors()[0]
            at = ".".join(str(part) for part in first["loc"]) or "answer"
            raise ValueError(f"{at}: {first['msg']}") from error

    def check(self, answer: Json, shown: Sequence[str]) -> Judgement:
        """What the answer means; ValueError where it is not an answer to the responses shown."""
        raise NotImplementedError

    def pairs(self, ranking: Ranking) -> Iterator[Pair]:
        """(better, worse, margin) of each pair; margin 0 is a tie, in id order."""
        for level, group in enumerate(ranking.groups):
            for first, second in combinations(group, 2):
                yield first, second, 0
            for lower in range(level + 1, len(ranking.groups)):
                for better in group:
                    for worse in ranking.groups[lower]:
                        yield better, worse, self.margin(ranking, better, worse, lower - level)

    def margin(self, ranking: Ranking, better: str, worse: str, apart: int) -> int:  # noqa: ARG002
        """How much better, at least 1: the number of tie groups between the two."""
        return apart


class RankMode(Mode):
    """Order two to nine responses, ties allowed; "none is acceptable" with an order or without."""

    name = "rank"
    feeds = "preferences"
    responses = (2, MAX_RESPONSES)

    class Answer(_Answer):
        """Response id -> rank, 1 for the best; equal ranks tie, gaps mean nothing."""

        ranks: dict[str, Rank] = Field(max_length=MAX_RESPONSES)
        none_acceptable: bool = False

    def check(self, answer: Json, shown: Sequence[str]) -> Judgement:
        said = self.parse(answer)
        if not said.ranks and not said.none_acceptable:
            raise ValueError("nothing is ranked: rank the responses, or skip the item")
        if said.ranks:
            _check_all(said.ranks, shown, "ranked")
        return Judgement(_levels(said.ranks), said.none_acceptable)


class CompareMode(Mode):
    """Which of two is better, and by how much; or about the same; or both are bad."""

    name = "compare"
    feeds = "preferences"
    responses = (2, 2)

    class Answer(_Answer):
        """The better one's id (none where they are about the same) and a strength."""

        better: str | None
        strength: Literal["significantly", "better", "slightly", "same"]
        both_bad: bool = False

    def check(self, answer: Json, shown: Sequence[str]) -> Judgement:
        said = self.parse(answer)
        if (said.better is None) != (said.strength == "same"):
            raise ValueError("about the same goes with no better response, a strength with one")
        groups = _better_of_two(said.better, shown)
        return Judgement(groups, said.both_bad, {"strength": said.strength})

    def margin(self, ranking: Ranking, better: str, worse: str, apart: int) -> int:  # noqa: ARG002
        return STRENGTHS.get(ranking.details.get("strength", ""), apart)


class RateMode(Mode):
    """A rating from 1 to 7 for each response, and what is wrong with it, if anything."""

    name = "rate"
    feeds = "preferences"
    responses = (1, MAX_RESPONSES)

    class Answer(_Answer):
        """Response id -> rating, 7 for the best; response id -> flags."""

        ratings: dict[str, Rating] = Field(min_length=1, max_length=MAX_RESPONSES)
        flags: dict[str, list[str]] = Field(default_factory=dict, max_length=MAX_RESPONSES)

    def check(self, answer: Json, shown: Sequence[str]) -> Judgement:
        said = self.parse(answer)
        _check_all(said.ratings, shown, "rated")
        for response, flags in said.flags.items():
            unknown = sorted(set(flags) - set(RESPONSE_FLAGS))
            if unknown or response not in said.ratings:
                raise ValueError(f"{unknown or response} cannot be flagged: {RESPONSE_FLAGS}")
        details: Json = {"ratings": said.ratings}
        marked = {one: sorted(set(flags)) for one, flags in said.flags.items() if flags}
        if marked:
            details["flags"] = marked
        return Judgement(
            _levels({one: -rating for one, rating in said.ratings.items()}), False, details
        )

    def margin(self, ranking: Ranking, better: str, worse: str, apart: int) -> int:
        ratings = ranking.details.get("ratings", {})
        return ratings[better] - ratings[worse] if ratings else apart


class DemonstrateMode(Mode):
    """Write the answer oneself, or edit the response that is there."""

    name = "demonstrate"
    feeds = "sft"
    responses = (0, 1)

    class Answer(_Answer):
        """The text of the answer."""

        text: str = Field(max_length=MAX_TEXT_CHARACTERS)

    def check(self, answer: Json, shown: Sequence[str]) -> Judgement:  # noqa: ARG002
        said = self.parse(answer)
        if not said.text.strip():
            raise ValueError("nothing is written: write an answer, or skip the item")
        return Judgement(text=said.text)


class EvaluateMode(Mode):
    """Which of two policies' answers is better: for judging models, never for training them."""

    name = "evaluate"
    feeds = "evaluation"
    responses = (2, 2)

    class Answer(_Answer):
        """The better one's id, or none for a tie."""

        better: str | None
        both_bad: bool = False

    def check(self, answer: Json, shown: Sequence[str]) -> Judgement:
        said = self.parse(answer)
        return Judgement(_better_of_two(said.better, shown), said.both_bad)


class ReviewMode(RankMode):
    """A reviewer's order of what labelers disagree on; it stands in for theirs."""

    name = "review"


MODES: dict[str, Mode] = {
    mode.name: mode
    for mode in (
        RankMode(),
        CompareMode(),
        RateMode(),
        DemonstrateMode(),
        EvaluateMode(),
        ReviewMode(),
    )
}
CAMPAIGN_MODES = tuple(name for name in MODES if name != ReviewMode.name)


def mode_named(name: str) -> Mode:
    """The mode of this name; ValueError naming those there are."""
    if name not in MODES:
        raise ValueError(f"no mode named {name!r}: there are {', '.join(CAMPAIGN_MODES)}")
    return MODES[name]


def _check_all(given: dict[str, int], shown: Sequence[str], what: str) -> None:
    if set(given) != set(shown):
        raise ValueError(f"{sorted(given)} were {what}, but {sorted(shown)} were shown")


def _levels(ranks: dict[str, int]) -> tuple[tuple[str, ...], ...]:
    """Tie groups of response ids, the lowest number first."""
    return tuple(
        tuple(sorted(response for response, rank in ranks.items() if rank == level))
        for level in sorted(set(ranks.values()))
    )


def _better_of_two(better: str | None, shown: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    if better is None:
        return (tuple(sorted(shown)),)
    if better not in shown:
        raise ValueError(f"{better} is none of {sorted(shown)}")
    return ((better,), tuple(one for one in shown if one != better))
