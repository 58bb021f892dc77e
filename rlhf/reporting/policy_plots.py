"""Plots of the policies: win rates, reward against distance from SFT, lengths."""

from dataclasses import dataclass
from math import sqrt
from statistics import fmean, median, stdev
from typing import TYPE_CHECKING

from markupsafe import Markup

from rlhf.data.identity import Json
from rlhf.evaluation.winrate import Z95
from rlhf.reporting.drawing import GREY, INK, POLICY_COLOURS, canvas, to_svg
from rlhf.reporting.formatting import (
    count,
    kl,
    listed,
    number,
    percent,
    policy_name,
)
from rlhf.reporting.policies import ordered
from rlhf.reporting.reading import RunRecord
from rlhf.reporting.verdict import TRAINED

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing, a title, and a caption that says what to see."""

    title: str
    svg: Markup
    caption: str


def win_rate_plot(run: RunRecord) -> Plot | None:
    """Win rate against SFT of every policy, with its interval."""
    policies = run.result("evaluate").get("policies", {})
    if not policies:
        return None
    from matplotlib.ticker import MultipleLocator

    names = ordered(policies)[::-1]
    with canvas(70 + 33 * len(names)) as figure:
        axes = figure.subplots()
        axes.axvline(50, color=GREY, linewidth=1.2, dashes=(4, 3))
        for place, name in enumerate(names):
            row = policies[name]
            colour = POLICY_COLOURS.get(name, GREY)
            span = [100 * row["win_rate_low"], 100 * row["win_rate_high"]]
            axes.plot(span, [place, place], color=colour, linewidth=2.5, solid_capstyle="round")
            axes.plot(100 * row["win_rate"], place, "o", color=colour, markersize=8)
        axes.set_yticks(range(len(names)), [policy_name(name) for name in names])
        axes.tick_params(axis="y", labelcolor=INK, labelsize=14, length=0)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        low = min(row["win_rate_low"] for row in policies.values())
        high = max(row["win_rate_high"] for row in policies.values())
        axes.set_xlim(100 * min(0.4, low) - 3, 100 * max(0.6, high) + 3)
        axes.xaxis.set_major_locator(MultipleLocator(10))
        axes.set_xlabel("comparisons won against SFT, %")
        rows = [f"{policy_name(name)} {percent(policies[name]['win_rate'])}" for name in names]
        svg = to_svg(figure, "win-rate", f"Win rate against SFT: {', '.join(rows[::-1])}.")
    return Plot(
        "Who beats SFT",
        svg,
        f"Share of {count(run.result('evaluate')['prompts'], 'held-out prompt')} on which the "
        "judge prefers the policy's answer to SFT's, with its 95\u202f% interval. A policy whose "
        "whole interval lies right of the dashed line is better than SFT.",
    )


def frontier_plot(run: RunRecord) -> Plot | None:
    """Judged reward of every policy against its distance from SFT, on a square-root axis."""
    found = run.result("evaluate")
    policies = {
        name: row for name, row in found.get("policies", {}).items() if _distance(row) is not None
    }
    if not policies:
        return None
    with canvas() as figure:
        axes = figure.subplots()
        for name, row in policies.items():
            distance = sqrt(max(0.0, _distance(row) or 0.0))
            colour = POLICY_COLOURS.get(name, GREY)
            half = _half_interval(run, name)
            axes.plot(
                [distance] * 2,
                [row["gold_reward"] - half, row["gold_reward"] + half],
                color=colour,
                linewidth=1.5,
            )
            filled = colour if "kl" in row else "none"
            axes.plot(
                distance, row["gold_reward"], "o", color=colour, mfc=filled, markersize=8, mew=2
            )
        _name_points(axes, policies)
        _square_ticks(axes, max(_distance(row) or 0.0 for row in policies.values()))
        axes.set_xlabel("KL to SFT, nats per answer (square-root scale)")
        axes.set_title("judged reward" if found["judge"] != "reward" else "reward-model reward")
        rows = [
            f"{policy_name(name)} {number(row['gold_reward'])} at {kl(row)} nats"
            for name, row in policies.items()
        ]
        svg = to_svg(figure, "frontier", f"Judged reward against KL: {'; '.join(rows)}.")
    return Plot(
        "Reward against distance from SFT",
        svg,
        "Higher is better, further left is cheaper: a policy far to the right that is no higher "
        "has moved without getting better. Hollow points are answers picked from several SFT "
        "draws, which lie at most that far away. Bars are 95\u202f% intervals of the mean.",
    )


def _distance(row: Json) -> float | None:
    value = row.get("kl") if row.get("kl") is not None else row.get("kl_bound")
    return None if value is None else float(value)


def _half_interval(run: RunRecord, name: str) -> float:
    rewards = [row["answers"][name]["gold_reward"] for row in run.answers if name in row["answers"]]
    return Z95 * stdev(rewards) / sqrt(len(rewards)) if len(rewards) > 1 else 0.0


def _name_points(axes: "Axes", policies: Json) -> None:
    """Names beside the points, on the side away from the next point of like height."""
    at = {name: sqrt(max(0.0, _distance(row) or 0.0)) for name, row in policies.items()}
    rightmost = max(at.values())
    for name, row in policies.items():
        rights = [other for other in at if other != name and at[other] > at[name]]
        heights = [policies[other]["gold_reward"] for other in at]
        near = 0.12 * ((max(heights) - min(heights)) or 1.0)
        crowded = any(abs(policies[o]["gold_reward"] - row["gold_reward"]) < near for o in rights)
        left = crowded or at[name] == rightmost
        axes.annotate(
            policy_name(name),
            (at[name], row["gold_reward"]),
            xytext=(-9 if left else 9, 0),
            textcoords="offset points",
            ha="right" if left else "left",
            va="center",
            fontsize=13,
            color=INK,
        )


def _square_ticks(axes: "Axes", most: float) -> None:
    """Ticks at squares of even steps, labelled in nats."""
    reach = sqrt(max(most, 0.25))
    step = next(step for step in (0.5, 1, 2, 5, 10, 50, 1000) if reach / step <= 6)
    places = [step * i for i in range(int(reach / step) + 2)]
    axes.set_xticks(places, [f"{place * place:g}" for place in places])
    axes.set_xlim(-0.08 * reach, reach * 1.12)


def length_plot(run: RunRecord) -> Plot | None:
    """How long the answers of SFT and the trained policies are."""
    lengths = {
        name: [row["answers"][name]["tokens"] for row in run.answers if name in row["answers"]]
        for name in ("sft", *TRAINED)
    }
    lengths = {name: found for name, found in lengths.items() if found}
    if not lengths:
        return None
    longest = max(max(found) for found in lengths.values())
    width = max(1, -(-longest // 16))
    edges = [width * i for i in range(longest // width + 2)]
    with canvas() as figure:
        axes = figure.subplots()
        for name, found in lengths.items():
            shares = [
                100 * sum(low <= length < low + width for length in found) / len(found)
                for low in edges[:-1]
            ]
            colour = POLICY_COLOURS.get(name, GREY)
            dashes = "-" if name != "sft" else "--"
            axes.stairs(
                shares, edges, color=colour, linewidth=2, label=policy_name(name), linestyle=dashes
            )
        axes.set_xlim(0, edges[-1])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("length of the answer, tokens")
        axes.set_title("answers, %")
        axes.legend(loc="upper right", handlelength=1.4)
        said = [
            f"{policy_name(name)} {fmean(found):.0f} (median {median(found):.0f})"
            for name, found in lengths.items()
        ]
        svg = to_svg(figure, "lengths", f"Distribution of answer lengths: {listed(said)} tokens.")
    return Plot(
        "How long the answers are",
        svg,
        f"Mean lengths in tokens: {listed(said)}. A hump that moved right means that length may "
        "be part of what wins; one at the far end means answers that the limit cut off.",
    )
