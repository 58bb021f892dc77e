"""Reward against distance from SFT: what the reward model promises, and what the judge finds."""

from collections.abc import Sequence
from math import sqrt
from typing import TYPE_CHECKING, Literal

from rlhf.data.policies import policy_name
from rlhf.reporting.drawing import GREY, INK, POLICY_COLOURS, SERIES, SOFT, canvas, to_svg
from rlhf.reporting.formatting import THIN, number
from rlhf.reporting.measured import (
    Fitted,
    Judge,
    Spot,
    Trail,
    best_of_n,
    fitted,
    spots,
    trail_name,
    trails,
)
from rlhf.reporting.policy_plots import Plot
from rlhf.reporting.reading import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MARKS = {"dpo": "s", "ppo": "o", "rloo": "D", "rejection": "P"}
BEST_OF_MARK = "^"
WIDTH_OF_NAME = 0.3  # of the plot
HEIGHT_OF_NAME = 0.08  # of what the judge's points span
DASHES: dict[Judge, Literal["-", "--", "-."]] = {
    "reward model": "--",
    "judge": "-",
    "monitor": "-.",
}
STEPS = 60  # of a drawn curve
HOW_TO_READ = (
    "Gains over SFT, in spreads (standard deviations of SFT's answers), against distance from SFT. "
    "Hollow, dashed: what the reward model says, which the training follows. Filled, solid: what "
    f"the judge says, with 95{THIN}% intervals (dash-dotted: the monitor). Where the two part, the "
    "reward model is being gamed."
)


def frontier_plot(run: RunRecord) -> Plot | None:
    """Every policy of a run, and what PPO saw on held-out prompts on its way."""
    ended, seen = spots(run), trails(run)
    if not ended and not seen:
        return None
    curves = [_of_trail(one, _colour(one.algorithm)) for one in seen] + _of_best_of_n(ended)
    with canvas(330) as figure:
        axes = figure.subplots()
        axes.axhline(0, color=GREY, linewidth=1)
        for curve in curves:
            _draw_curve(axes, curve)
        for trail in seen:
            _draw_trail(axes, trail, _colour(trail.algorithm))
        _join(axes, best_of_n(ended))
        for spot in ended:
            _draw_spot(axes, spot, _colour(spot.policy))
        name_spots(axes, ended)
        _finish(axes, [spot.kl for spot in ended] + [kl for one in seen for kl in one.kl])
        axes.legend(handles=_judges(ended, seen), loc="lower right", handlelength=2.2)
        svg = to_svg(figure, "frontier", f"Gain over SFT against KL: {_read_aloud(ended)}.")
    return Plot(
        "Reward against distance from SFT", svg, f"{HOW_TO_READ}{_small(ended)}{_told(curves)}"
    )


def frontiers_plot(runs: Sequence[tuple[str, RunRecord]]) -> Plot | None:
    """The policies of several runs in one plot, a colour for each run, a mark for each way to
    train; curves through the judge's points of all runs, way by way.
    """
    found = [(name, spots(run), trails(run)) for name, run in runs]
    if not any(ended for _, ended, _ in found):
        return None
    from matplotlib.lines import Line2D

    all_ended = [one for _, ended, _ in found for one in ended]
    curves = _across(all_ended)
    policies: dict[str, None] = {}
    with canvas(380) as figure:
        axes = figure.subplots()
        axes.axhline(0, color=GREY, linewidth=1)
        for curve in curves:
            _draw_curve(axes, curve)
        for place, (_, ended, seen) in enumerate(found):
            colour = SERIES[place % len(SERIES)]
            for trail in seen:
                _draw_trail(axes, trail, colour)
            _join(axes, best_of_n(ended), colour)
            for spot in ended:
                if spot.policy != "sft":
                    policies[_way(spot.policy)] = None
                    _draw_spot(axes, spot, colour, _mark(spot.policy))
        kl = [spot.kl for spot in all_ended]
        _finish(axes, kl + [one for *_, seen in found for trail in seen for one in trail.kl])
        keys = _judges(all_ended, [one for *_, seen in found for one in seen])
        keys += [
            Line2D([], [], color=SERIES[i % len(SERIES)], linewidth=4, label=name)
            for i, (name, *_) in enumerate(found)
        ] + [
            Line2D([], [], color=SOFT, marker=_mark(name), linestyle="", label=policy_name(name))
            for name in policies
        ]
        figure.legend(handles=keys, loc="outside lower left", ncols=2, handlelength=1.2)
        rows = [f"{name}: {_read_aloud(ended)}" for name, ended, _ in found if ended]
        svg = to_svg(figure, "frontiers", f"Gain over SFT against KL. {'. '.join(rows)}.")
    return Plot(
        "Reward against distance from SFT, all runs",
        svg,
        f"{HOW_TO_READ} Each run counts from its own SFT.{_many(len(runs))}{_told(curves)}",
    )


def _judges(ended: Sequence[Spot], seen: Sequence[Trail]) -> "list[Line2D]":
    """What hollow and filled, dashed and solid stand for, as far as they are drawn."""
    from matplotlib.lines import Line2D

    drawn = {trail.judge for trail in seen} | {"reward model"}
    if any(spot.judged is not None for spot in ended):
        drawn.add("judge")
    return [
        Line2D(
            [],
            [],
            color=SOFT,
            marker="o",
            mfc="none" if judge == "reward model" else SOFT,
            linestyle=dashes,
            linewidth=1.4,
            label=judge,
        )
        for judge, dashes in DASHES.items()
        if judge in drawn
    ]


def _many(runs: int) -> str:
    if runs <= len(SERIES):
        return ""
    return f" Only {len(SERIES)} colours are told apart: after as many runs they begin again."


def _of_trail(trail: Trail, colour: str) -> Fitted:
    return fitted(trail_name(trail), colour, "rl", trail.kl, trail.gains)


def _of_best_of_n(ended: Sequence[Spot]) -> list[Fitted]:
    """The judge's curve of best-of-n (where the reward model is the judge: its own)."""
    drawn = best_of_n(ended)
    if not drawn:
        return []
    who = "Best-of-n, judge" if drawn[0].judged is not None else "Best-of-n, reward model"
    gains = [one.proxy if one.judged is None else one.judged for one in drawn]
    return [fitted(who, GREY, "best-of-n", [one.kl for one in drawn], gains)]


def _across(ended: Sequence[Spot]) -> list[Fitted]:
    """The judge's curve of each way to train, through where the runs ended."""
    curves = []
    for way in dict.fromkeys(_way(spot.policy) for spot in ended if spot.policy != "sft"):
        # Runs that share SFT and reward model have the same best-of-n: one measurement.
        judged = dict.fromkeys(
            (one.kl, one.judged)
            for one in ended
            if _way(one.policy) == way and one.judged is not None
        )
        if judged:
            kind = "best-of-n" if way == "best of n" else "rl"
            who = f"{policy_name(way)[0].upper()}{policy_name(way)[1:]}, judge"
            curves.append(fitted(who, INK, kind, *zip(*judged, strict=True)))  # type: ignore[arg-type]
    return curves


def _way(policy: str) -> str:
    return "best of n" if policy.startswith("best_of_") else policy


def _mark(policy: str) -> str:
    return BEST_OF_MARK if _way(policy) == "best of n" else MARKS.get(policy, "o")


def _colour(policy: str) -> str:
    return POLICY_COLOURS.get(policy, GREY)


def _draw_curve(axes: "Axes", found: Fitted) -> None:
    """The fitted curve, dotted, over the range that was measured, with its peak."""
    if found.curve is None:
        return
    places = [found.curve.reach * i / STEPS for i in range(STEPS + 1)]
    heights = [found.curve.at(d * d) for d in places]
    axes.plot(places, heights, color=found.colour, linewidth=1.2, linestyle=":")
    if found.curve.peak is not None and found.curve.peaks_within_reach:
        peak = found.curve.peak
        low = found.curve.peak_low or 0.0
        high = min(found.curve.peak_high or found.curve.reach, found.curve.reach)
        height = found.curve.at(peak * peak)
        axes.plot([low, high], [height, height], color=found.colour, linewidth=5, alpha=0.25)
        axes.plot(peak, height, "*", color=found.colour, markersize=13)


def _draw_trail(axes: "Axes", trail: Trail, colour: str) -> None:
    dashes = DASHES[trail.judge]
    fill = "none" if trail.judge == "reward model" else colour
    axes.plot(
        [sqrt(kl) for kl in trail.kl],
        trail.gains,
        color=colour,
        linestyle=dashes,
        linewidth=1.4,
        marker=".",
        markersize=8,
        mfc=fill,
    )


def _draw_spot(axes: "Axes", spot: Spot, colour: str, mark: str = "o") -> None:
    """The judge's point with its interval, the reward model's above or below it."""
    at = sqrt(spot.kl)
    if spot.judged is None:
        axes.plot(at, spot.proxy, mark, color=colour, mfc="none", markersize=8, mew=1.6)
        return
    axes.plot([at, at], [spot.judged, spot.proxy], color=colour, linewidth=0.8, linestyle=":")
    axes.plot(
        [at, at], [spot.judged - spot.half, spot.judged + spot.half], color=colour, linewidth=1.8
    )
    axes.plot(at, spot.judged, mark, color=colour, markersize=8)
    if spot.policy != "sft":
        axes.plot(at, spot.proxy, mark, color=colour, mfc="none", markersize=7, mew=1.4)


def _join(axes: "Axes", drawn: Sequence[Spot], colour: str = GREY) -> None:
    """A thin line from SFT through the best-of-n."""
    if drawn:
        heights = [one.proxy if one.judged is None else one.judged for one in drawn]
        places = [sqrt(one.kl) for one in drawn]
        axes.plot([0, *places], [0, *heights], color=colour, linewidth=0.9)


def name_spots(axes: "Axes", ended: Sequence[Spot]) -> None:
    """Names beside the judge's points: on the side away from the next point of like height, or
    where no other name stands yet.
    """
    heights = {one.policy: one.proxy if one.judged is None else one.judged for one in ended}
    span = (max(heights.values(), default=1) - min(heights.values(), default=0)) or 1.0
    reach = sqrt(max((one.kl for one in ended), default=0))
    width, tall = WIDTH_OF_NAME * reach, HEIGHT_OF_NAME * span
    taken: list[tuple[float, float]] = []  # the middles of the names, in the plot's units
    for spot in sorted(ended, key=lambda one: -one.kl):
        at, height = sqrt(spot.kl), heights[spot.policy]
        rights = [one for one in ended if 0 < sqrt(one.kl) - at < width]
        likely = -1 if any(abs(heights[one.policy] - height) < 0.25 * span for one in rights) else 1
        places = [(side, up) for up in (-1, 1) for side in (likely, -likely)]
        middles = {
            (side, up): (at + side * width / 2, height + 0.8 * up * tall) for side, up in places
        }
        free = (
            place
            for place, (x, y) in middles.items()
            if not any(abs(x - other) < width and abs(y - high) < tall for other, high in taken)
        )
        side, up = next(free, places[0])
        taken.append(middles[side, up])
        axes.annotate(
            policy_name(spot.policy),
            (at, height),
            xytext=(9 * side, 5 * up),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="top" if up < 0 else "bottom",
            fontsize=13,
            color=INK,
        )


def _finish(axes: "Axes", distances: Sequence[float]) -> None:
    _square_ticks(axes, max(distances, default=0.0))
    axes.set_xlabel("KL to SFT, nats per answer (square-root scale)")
    axes.set_title("gain over SFT, spreads")


def _square_ticks(axes: "Axes", most: float) -> None:
    """Ticks at squares of even steps, labelled in nats."""
    reach = sqrt(max(most, 0.25))
    step = next(step for step in (0.5, 1, 2, 5, 10, 50, 1000) if reach / step <= 6)
    places = [step * i for i in range(int(reach / step) + 2)]
    axes.set_xticks(places, [f"{place * place:g}" for place in places])
    axes.set_xlim(-0.08 * reach, reach * 1.2)


def _read_aloud(ended: Sequence[Spot]) -> str:
    return "; ".join(
        f"{policy_name(one.policy)} {number(one.proxy if one.judged is None else one.judged)} at "
        f"{'at most ' if one.bound else ''}{number(one.kl, 1)} nats"
        for one in ended
    )


def _small(ended: Sequence[Spot]) -> str:
    if not any(one.bound for one in ended):
        return ""
    return " Best-of-n lies at most as far away as it is drawn."


def _told(curves: Sequence[Fitted]) -> str:
    """The fitted curves in words, after what they are."""
    if not curves:
        return ""
    law = "Curves of Gao et al. (2023), with d the square root of the KL: "
    return f" {law}{' '.join(one.words for one in curves)}"
