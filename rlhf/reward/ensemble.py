"""Several reward models that are asked together: how many, how they differ, and how what they say
becomes one score. Free of torch so that a config can be checked without it.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Kind = Literal["heads", "seeds"]
Combine = Literal["mean", "minimum", "mean-minus-std"]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ensemble:
    """`members` reward models.

    `kind`: score heads on one trunk, each with a weight of its own for every prompt (a Bayesian
    bootstrap; Rubin 1981), or whole models from seeds of their own. `combine`: what becomes of the
    members' scores; `caution` is how many standard deviations `mean-minus-std` takes off. Coste et
    al. (2023), "Reward model ensembles help mitigate overoptimization". Raises ValueError for what
    makes no sense, and for what would not be read.
    """

    members: int = 1
    kind: Kind = "heads"
    combine: Combine = "mean"
    caution: float = 1.0

    def __post_init__(self) -> None:
        if self.members < 1:
            raise ValueError(f"members must be at least 1, got {self.members}")
        for name, known in (("kind", Kind), ("combine", Combine)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(
                    f"no {name} {getattr(self, name)!r}: there are {', '.join(get_args(known))}"
                )
        if self.members == 1 and (self.kind, self.combine) != ("heads", "mean"):
            raise ValueError("ensemble and combine are about several members: raise members")
        if not 0 <= self.caution < float("inf"):
            raise ValueError(f"caution must be 0 or more, got {self.caution}")
        if self.caution != 1.0 and self.combine != "mean-minus-std":
            raise ValueError(f"caution goes with combine mean-minus-std, not {self.combine}")

    def combined(self, scores: Array) -> Array:
        """One score a row, (N,), from those of the members, (N, M).

        Scaling and shifting all members alike does the same to what comes out.
        """
        if self.combine == "minimum":
            found: Array = scores.min(1)
        elif self.combine == "mean-minus-std":
            found = scores.mean(1) - self.caution * scores.std(1)
        else:
            found = scores.mean(1)
        return found


ALONE = Ensemble()
