"""Plots of the policies: win rates and lengths. Reward against distance is in `frontier`."""

from dataclasses import dataclass
from statistics import fmean, median

from markupsafe import Markup

from rlhf.data.policies import TRAINED, policy_name
from rlhf.evaluation.spelling import listed
from rlhf.reporting.drawing import GREY, INK, POLICY_COLOURS, canvas, to_svg
from rlhf.reporting.formatting import count, percent
from rlhf.reporting.policies import ordered
from rlhf.reporting.reading import RunRecord


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
