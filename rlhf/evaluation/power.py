"""How many comparisons it takes to tell a win rate from another, and what so many can tell."""

from math import ceil, sqrt

from scipy import stats


def judgements_needed(
    rate: float, *, against: float = 0.5, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Comparisons that tell a win rate from `against`, two-sided at `alpha`.

    The normal approximation for one share, without continuity correction (Fleiss, Levin and Paik
    2003, section 2.4): ((z(1 - alpha/2) sqrt(a (1 - a)) + z(power) sqrt(r (1 - r))) / (r - a))^2,
    rounded up. 194 for 60 %, 783 for 55 % against one half. Raises ValueError where the two are
    the same, or where one is no share.
    """
    for name, value in (("rate", rate), ("against", against), ("power", power), ("alpha", alpha)):
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {value:g}")
    if rate == against:
        raise ValueError(
            f"no number of judgements tells {rate:.0%} from itself: give another --rate"
        )
    z_alpha, z_power = float(stats.norm.ppf(1 - alpha / 2)), float(stats.norm.ppf(power))
    spread = z_alpha * sqrt(against * (1 - against)) + z_power * sqrt(rate * (1 - rate))
    return ceil((spread / (rate - against)) ** 2)


def rate_told(
    count: int, *, against: float = 0.5, power: float = 0.8, alpha: float = 0.05
) -> float | None:
    """The smallest win rate above `against` that `count` comparisons tell from it, to a tenth of a
    percent; None where even 99.9 % takes more.
    """
    rates = (step / 1000 for step in range(1, 1000) if step / 1000 > against)
    return next(
        (
            rate
            for rate in rates
            if judgements_needed(rate, against=against, power=power, alpha=alpha) <= count
        ),
        None,
    )
