"""Who says which of two answers is better: one small interface for whoever can be asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from rlhf.data.identity import Json
from rlhf.data.records import Prompt, Response
from rlhf.evaluation.winrate import outcome


class Matchup(NamedTuple):
    """Two answers to one prompt."""

    prompt: Prompt
    ours: Response
    theirs: Response


class Judged(NamedTuple):
    """What two answers are worth on the judge's own scale; the better one is worth more."""

    ours: float
    theirs: float


class Judge(Protocol):
    """Compares answers. `independent`: no policy was trained or chosen by what it says."""

    @property
    def name(self) -> str: ...

    @property
    def independent(self) -> bool: ...

    def compare(self, matchups: Sequence[Matchup]) -> "list[Judged | None]":
        """One for each matchup; None where nothing usable was said."""
        ...

    def told(self) -> Json:
        """What is to be known of how it judged; {} where there is nothing."""
        ...


@dataclass(frozen=True, slots=True)
class ByScore:
    """A judge that scores each answer alone: a reward model, the monitor, a known preference."""

    name: str
    independent: bool
    score: Callable[[Prompt, Response], float]

    def compare(self, matchups: Sequence[Matchup]) -> list[Judged | None]:
        """The two scores."""
        return [
            Judged(self.score(one.prompt, one.ours), self.score(one.prompt, one.theirs))
            for one in matchups
        ]

    def told(self) -> Json:
        """Nothing: the same answer has the same score whenever it is asked for."""
        return {}


def share(judged: Judged) -> float:
    """1 where ours won, 1/2 for a tie, 0 where it lost."""
    return outcome(judged.ours, judged.theirs)
