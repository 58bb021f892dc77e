"""Overfitting: every trained model on what it learned from, on validation and on test prompts, side
by side, and a sentence where the gap opens.
"""

from dataclasses import dataclass
from math import ceil
from statistics import fmean
from typing import TYPE_CHECKING

from rlhf.evaluation.spelling import listed
from rlhf.reporting.curves import TAIL, Curve, Points, curves_of
from rlhf.reporting.drawing import INK, canvas, draw_smoothed, to_svg
from rlhf.reporting.formatting import number, percent
from rlhf.reporting.policy_plots import Plot
from rlhf.reporting.probes import bounds_named
from rlhf.reporting.reading import RunRecord

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

PANEL_HEIGHT = 190
MARKS = {"validation": "D", "test": "o"}


@dataclass(frozen=True, slots=True)
class GapRow:
    """One model, spelled for the table; `mark` is empty where the gap is within what is asked."""

    model: str
    figure: str
    train: str
    validation: str
    test: str
    gap: str
    mark: str


@dataclass(frozen=True, slots=True)
class Generalisation:
    """The section: a row per model, a sentence for each gap that opened, and why it counts as
    open.
    """

    rows: tuple[GapRow, ...]
    sentences: tuple[str, ...]
    reasons: tuple[tuple[str, str], ...]


def generalisation_of(run: RunRecord) -> Generalisation | None:
    """Every model of which anything on held-out data is known; None where there is none."""
    curves = _known(run)
    if not curves:
        return None
    opened = [one for one in curves if _opened(one)]
    sentences = [_sentence(one) for one in opened]
    if not opened:
        names = listed([one.model for one in curves])
        sentences = [f"No gap opened beyond its bound, in {names}."]
    if "rejection" in run.stages:
        sentences.append(
            "Rejection SFT is not here: it learns from samples of its own, and none are held out."
        )
    bounds = bounds_named("generalisation")
    used = list(dict.fromkeys(one.bound for one in curves))
    return Generalisation(
        tuple(_row(one) for one in curves),
        tuple(sentences),
        tuple((bounds[name].title, bounds[name].why) for name in used),
    )


def _opened(one: Curve) -> bool:
    asked = bounds_named("generalisation")[one.bound].beware
    return asked is not None and one.gap is not None and one.gap > asked


def _sentence(one: Curve) -> str:
    """What the gap is, since when, and what it is worth."""
    assert one.gap is not None
    bound = bounds_named("generalisation")[one.bound]
    value = f"{number(100 * one.gap, 1)} points" if one.as_percent else number(one.gap)
    said = bound.says.format(policy=one.model, value=value)
    since = _since(one, bound.beware or 0.0)
    return f"{said[0].upper()}{said[1:]}: the gap opened{since}. {bound.why}"


def _since(one: Curve, asked: float) -> str:
    """From which look at validation data on the gap never closed again; "" where it cannot be
    told.
    """
    steps, values = one.validation
    gaps = [
        one.sign * (_near(one.train, step) - value)
        for step, value in zip(steps, values, strict=True)
        if one.train[0]
    ]
    since = None
    for step, gap in zip(reversed(steps), reversed(gaps), strict=False):
        if gap <= asked:
            break
        since = step
    return "" if since is None or len(gaps) < 2 else f" at step {since}"


def _near(train: Points, step: int) -> float:
    """The mean of what was logged up to a step, over as many steps as the end is taken from."""
    width = max(1, round(TAIL * len(train[0])))
    before = [value for at, value in zip(*train, strict=True) if at <= step]
    return fmean((before or train[1][:1])[-width:])


def _row(one: Curve) -> GapRow:
    def spelled(value: float | None) -> str:
        return percent(value) if one.as_percent else number(value)

    def last(points: Points) -> float | None:
        return points[1][-1] if points[1] else None

    gap = None if one.gap is None else one.gap
    said = f"{number(100 * gap, 1)} points" if one.as_percent and gap is not None else number(gap)
    return GapRow(
        one.model,
        one.figure,
        spelled(one.trained),
        spelled(last(one.validation)),
        spelled(last(one.test)),
        said,
        "opened" if _opened(one) else "",
    )


def _known(run: RunRecord) -> list[Curve]:
    """The models of which anything on held-out data is known."""
    return [one for one in curves_of(run) if one.gap is not None]


def generalisation_plot(run: RunRecord) -> Plot | None:
    """A panel per model, two beside one another: training, validation and test."""
    drawn = [one for one in _known(run) if (one.drawn or one).train[0]]
    if not drawn:
        return None
    rows = ceil(len(drawn) / 2)
    with canvas(PANEL_HEIGHT * rows + 30) as figure:
        axes = figure.subplots(rows, 2 if len(drawn) > 1 else 1, squeeze=False).flat
        for one, place in zip(drawn, axes, strict=False):
            _panel(place, one)
        for place in axes[len(drawn) :]:
            place.set_visible(False)
        handles: dict[str, Artist] = {}
        for place in axes:
            for handle, label in zip(*place.get_legend_handles_labels(), strict=True):
                handles.setdefault(str(label), handle)
        figure.legend(
            list(handles.values()),
            list(handles),
            loc="outside lower left",
            ncols=3,
            handlelength=1.4,
        )
        said = "; ".join(
            f"{one.model}: {number(one.trained)} on training data, {number(one.held_out)} held out"
            for one in drawn
        )
        svg = to_svg(figure, "generalisation", f"Training and held-out figures. {said}.")
    return Plot(
        "Training, validation and test side by side",
        svg,
        "Lines are what was logged on training data, diamonds validation prompts, dots test "
        "prompts at the end. Where held-out marks leave the line while it goes on improving, more "
        "training only learns by heart.",
    )


def _panel(axes: "Axes", one: Curve) -> None:
    shown = one.drawn or one
    steps, values = shown.train
    factor = 100 if one.as_percent and one.drawn is None else 1
    draw_smoothed(axes, steps, [factor * value for value in values], one.colour, "training")
    for name, points in (("validation", shown.validation), ("test", shown.test)):
        if points[0]:
            scaled = [factor * value for value in points[1]]
            axes.plot(
                points[0], scaled, MARKS[name], color=INK, markersize=6, label=name, clip_on=False
            )
    unit = ", %" if factor == 100 else ""
    axes.set_title(f"{one.model}: {shown.figure}{unit}", fontsize=11)
    axes.tick_params(labelsize=10)
