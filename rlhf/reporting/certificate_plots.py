"""Plots of the certificate: is it as sure as it should be, and what would more rankings bring?"""

from rlhf.data.identity import Json
from rlhf.reporting.drawing import BLUE, GREY, SOFT, TEAL, canvas, to_svg
from rlhf.reporting.formatting import THIN, count, number, percent
from rlhf.reporting.policy_plots import Plot
from rlhf.reporting.reading import RunRecord


def reliability_plot(run: RunRecord) -> Plot | None:
    """Predicted against seen, as the model is and with the temperature fitted on validation."""
    evidence = run.certificate.get("evidence", {})
    plain, after = evidence.get("calibration"), evidence.get("calibrated")
    if plain is None:
        return None
    most = max(votes for *_, votes in plain["bins"])
    with canvas(300) as figure:
        axes = figure.subplots()
        axes.plot([0, 100], [0, 100], color=GREY, linewidth=1.2, dashes=(4, 3))
        if after is not None:
            axes.plot(
                [100 * predicted for predicted, *_ in after["bins"]],
                [100 * share for _, share, _ in after["bins"]],
                "o",
                mfc="none",
                color=GREY,
                markersize=8,
                mew=1.6,
                label=f"with temperature {number(evidence['temperature'])}",
            )
        axes.scatter(
            [100 * predicted for predicted, _, _ in plain["bins"]],
            [100 * share for _, share, _ in plain["bins"]],
            s=[20 + 100 * votes / most for *_, votes in plain["bins"]],
            color=TEAL,
            zorder=3,
            label="as it is",
        )
        axes.set(xlim=(-2, 102), ylim=(-2, 102), aspect="equal", anchor="W")
        axes.set_xticks(range(0, 101, 25))
        axes.set_yticks(range(0, 101, 25))
        axes.set_xlabel("predicted chance of being preferred, %")
        axes.set_title("preferred by labelers, %")
        if after is not None:
            axes.legend(loc="upper left", handletextpad=0.2, borderpad=0.1)
        rows = [f"{percent(p)} predicted, {percent(share)} seen" for p, share, _ in plain["bins"]]
        svg = to_svg(figure, "reliability", f"Reliability diagram: {'; '.join(rows)}.")
    return Plot("Is it as sure as it should be?", svg, _reliability_caption(plain, after))


def _reliability_caption(plain: Json, after: Json | None) -> str:
    hollow = (
        " Hollow: after dividing by the temperature that fits the validation split best, which "
        f"changes no order (error {number(after['error'])})."
        if after is not None
        else ""
    )
    return (
        "How sure the reward model is that an answer is preferred, against how often labelers "
        "preferred it; larger dots hold more votes. On the dashed line it is exactly as sure as it "
        "should be; flatter than the line, it is too sure. Each pair is counted from both sides. "
        f"Calibration error {number(plain['error'])}.{hollow}"
    )


def learning_curve_plot(run: RunRecord) -> Plot | None:
    """Held-out accuracy against the number of rankings, with the law through the points and the
    ceiling.
    """
    evidence = run.certificate.get("evidence", {})
    curve = evidence.get("curve")
    if curve is None:
        return None
    points = curve["points"]
    sizes = [one["rankings"] for one in points]
    with canvas(300) as figure:
        axes = figure.subplots()
        values = [one["accuracy"]["value"] for one in points]
        for size, one in zip(sizes, points, strict=True):
            span = [100 * one["accuracy"]["low"], 100 * one["accuracy"]["high"]]
            axes.plot([size, size], span, color=BLUE, linewidth=1.5)
        axes.plot(sizes, [100 * value for value in values], "o", color=BLUE, markersize=8)
        reach = 4 * sizes[-1]
        if curve["law"] is not None:
            steps = [sizes[0] * (reach / sizes[0]) ** (i / 60) for i in range(61)]
            drawn = [(n, 100 * _law(curve["law"], n)) for n in steps]
            seen = [one for one in drawn if one[0] <= sizes[-1]]
            later = [one for one in drawn if one[0] >= sizes[-1]]
            axes.plot(*zip(*seen, strict=True), color=BLUE, linewidth=1.6)
            axes.plot(*zip(*later, strict=True), color=GREY, linewidth=1.6, dashes=(4, 3))
        _line(axes, "longest is best", evidence["longest"]["value"], reach)
        if evidence["ceiling"] is not None:
            _line(axes, "labelers' ceiling", evidence["ceiling"]["value"], reach)
        axes.set_xscale("log")
        axes.set_xlim(0.85 * sizes[0], reach)
        ticks = [
            size * 2**i for size in sizes[-1:] for i in range(-6, 3) if size * 2**i >= sizes[0]
        ]
        axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("rankings trained on (doubling scale)")
        axes.set_title("held-out accuracy, %")
        rows = [f"{count(n)}: {percent(v)}" for n, v in zip(sizes, values, strict=True)]
        svg = to_svg(figure, "learning-curve", f"Accuracy by rankings: {'; '.join(rows)}.")
    return Plot("What would more rankings bring?", svg, _curve_caption(run.certificate))


def _law(law: Json, rankings: float) -> float:
    return float(law["limit"] - law["drop"] * rankings ** -law["exponent"])


def _line(axes: object, label: str, value: float, right: float) -> None:
    axes.axhline(100 * value, color=GREY, linewidth=1)  # type: ignore[attr-defined]
    axes.annotate(  # type: ignore[attr-defined]
        label,
        (right, 100 * value),
        xytext=(-2, 4),
        textcoords="offset points",
        ha="right",
        fontsize=12,
        color=SOFT,
    )


def _curve_caption(certificate: Json) -> str:
    law = certificate["evidence"]["curve"]["law"]
    fitted = (
        f" The line is the law accuracy = {number(law['limit'])} − {number(law['drop'])} / "
        f"rankings^{law['exponent']:g} through them; dashed, where nothing was measured."
        if law is not None
        else ""
    )
    target = certificate["forecast"]
    asked = (
        f" RL would ask for {percent(target['target'])} here."
        if target is not None and target["more"] != 0
        else ""
    )
    return (
        "Trained again on parts of the prompts, each part within the next, and measured on the "
        f"same held-out prompts; bars are 95{THIN}% intervals over these.{fitted} A training more "
        f"or less lucky moves a point by as much as a bar.{asked}"
    )
