"""Plots of the trainings: the reward model's calibration, PPO, DPO, and losses."""

from collections.abc import Sequence

from rlhf.data.identity import Json
from rlhf.reporting.drawing import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    TEAL,
    canvas,
    draw_smoothed,
    running_mean,
    to_svg,
)
from rlhf.reporting.formatting import number, percent
from rlhf.reporting.length import held_out
from rlhf.reporting.policy_plots import Plot
from rlhf.reporting.reading import RunRecord
from rlhf.reporting.reward_model import calibration_caption

CHOSEN_FELL = 0.7  # as a share of what the rejected fell; above it the gap is the smaller part
COIN_LOSS = 0.6931  # ln 2: the loss of a reward model that tosses a coin


def calibration_plot(run: RunRecord) -> Plot | None:
    """What the reward model predicted against what labelers chose, on held-out prompts."""
    found = held_out(run.result("reward"))
    if found is None:
        return None
    bins = found[1]["bins"]
    most = max(votes for *_, votes in bins)
    with canvas(300) as figure:
        axes = figure.subplots()
        axes.plot([0, 100], [0, 100], color=GREY, linewidth=1.2, dashes=(4, 3))
        axes.scatter(
            [100 * predicted for predicted, _, _ in bins],
            [100 * share for _, share, _ in bins],
            s=[20 + 100 * votes / most for *_, votes in bins],
            color=TEAL,
            zorder=3,
        )
        axes.set(xlim=(-2, 102), ylim=(-2, 102), aspect="equal", anchor="W")
        axes.set_xticks(range(0, 101, 25))
        axes.set_yticks(range(0, 101, 25))
        axes.set_xlabel("predicted chance of being preferred, %")
        axes.set_title("preferred by labelers, %")
        rows = [f"{percent(p)} predicted, {percent(share)} seen" for p, share, _ in bins]
        svg = to_svg(figure, "calibration", f"Calibration: {'; '.join(rows)}.")
    return Plot("Is the reward model as sure as it should be?", svg, calibration_caption(run))


def ppo_plot(run: RunRecord) -> Plot | None:
    """Reward and KL while PPO trains; reward and monitor on held-out prompts too."""
    rows = run.metrics("ppo")
    steps, values = _series(rows, ("objective/scores", "objective/kl"))
    if len(steps) < 2:
        return None
    scores, kl = values
    with canvas(320) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True)
        scores = draw_smoothed(top, steps, scores, BLUE)
        kl = draw_smoothed(bottom, steps, kl, BLUE)
        for name, mark, label in (
            ("held_out/reward", "D", "held-out prompts"),
            ("held_out/monitor", "o", "monitor, held-out prompts"),
        ):
            seen, (judged,) = _series(rows, (name,))
            if seen:
                top.plot(seen, judged, mark, color=INK, markersize=5, label=label)
        if top.get_legend_handles_labels()[0]:
            top.legend(loc="best", handlelength=1.4)
        top.set_title("reward-model reward")
        bottom.set_title("KL to SFT, nats per answer")
        bottom.set_xlabel("optimizer step")
        svg = to_svg(
            figure,
            "ppo",
            f"PPO: reward from {number(scores[0])} to {number(scores[-1])}, KL from "
            f"{number(kl[0], 1)} to {number(kl[-1], 1)} nats.",
        )
    return Plot(
        "PPO: what it gained, and how far it went",
        svg,
        f"The reward model's score of the sampled answers went from {number(scores[0])} to "
        f"{number(scores[-1])} while the policy moved {number(kl[-1], 1)} nats from SFT. Healthy: "
        "both rise and level off. KL that keeps rising after the reward has levelled off is "
        "distance without gain. Thin lines are single batches, strong ones a running mean."
        + _alarms(run.result("ppo")),
    )


def _alarms(result: Json) -> str:
    """What the last evaluation on held-out prompts found alarming, as a sentence."""
    found = result.get("alarms") or []
    return f" At the end, {'; '.join(found)}." if found else ""


def dpo_plot(run: RunRecord) -> Plot | None:
    """Accuracy and log-probabilities while DPO trains."""
    names = ("rewards/accuracies", "logps/chosen", "logps/rejected", "rewards/margins")
    steps, values = _series(run.metrics("dpo"), names)
    if len(steps) < 2:
        return None
    accuracy, chosen, rejected, margins = values
    with canvas(320) as figure:
        top, bottom = figure.subplots(2, 1, sharex=True)
        draw_smoothed(top, steps, [100 * share for share in accuracy], ORANGE)
        draw_smoothed(bottom, steps, chosen, ORANGE, "chosen")
        draw_smoothed(bottom, steps, rejected, GREY, "rejected", "--")
        top.set_title("training pairs ordered rightly, %")
        bottom.set_title("log-probability of the response, nats")
        bottom.set_xlabel("optimizer step")
        bottom.legend(loc="best", ncols=2, handlelength=1.4)
        svg = to_svg(
            figure,
            "dpo",
            f"DPO: accuracy from {percent(accuracy[0])} to {percent(accuracy[-1])}, "
            f"log-probability of chosen responses from {number(chosen[0], 1)} to "
            f"{number(chosen[-1], 1)}, of rejected ones from {number(rejected[0], 1)} to "
            f"{number(rejected[-1], 1)} nats.",
        )
    return Plot(
        "DPO: chosen and rejected move apart",
        svg,
        f"The margin between chosen and rejected grew from {number(margins[0])} to "
        f"{number(margins[-1])}. {_chosen_reward(run)}",
    )


def _chosen_reward(run: RunRecord) -> str:
    """What became of the chosen responses' reward, and whether that is bad; both rewards are 0 at
    the start.
    """
    _, (chosen, rejected) = _series(run.metrics("dpo"), ("rewards/chosen", "rewards/rejected"))
    if not chosen:
        return (
            "The log-probability of the chosen responses may fall as well: DPO asks only for a "
            "larger gap between the two, so probability can move from both to answers that nobody "
            "ranked. Worry when the chosen fall as fast as the rejected."
        )
    up, down = (running_mean(values, 5)[-1] for values in (chosen, rejected))
    if up >= 0:
        return (
            f"The chosen responses' own reward (beta times the log-ratio to SFT) rose to "
            f"{number(up)}: the policy writes them more often than SFT did."
        )
    fell = (
        f"The chosen responses' own reward (beta times the log-ratio to SFT) fell to {number(up)}, "
        f"that of the rejected to {number(down)}: DPO asks only for a larger gap between the two, "
        "so probability moves from both to answers that nobody ranked."
    )
    if down < 0 and up / down < CHOSEN_FELL:
        return (
            f"{fell} That is common and no fault while the chosen fall much less than the rejected "
            "and the win rate holds."
        )
    return (
        f"{fell} Here the chosen fell nearly as much, which is bad: the training moves away from "
        "what people liked as well. Look at the answers; raise dpo.beta, lower the learning rate "
        "or the number of epochs, or take dpo.loss: ipo."
    )


def sft_loss_plot(run: RunRecord) -> Plot | None:
    """SFT's loss on what it trains on, and on validation where that is known."""
    rows = run.metrics("sft")
    steps, (losses,) = _series(rows, ("loss",))
    if len(steps) < 2:
        return None
    seen, (validation,) = _series(rows, ("eval_loss",))
    with canvas() as figure:
        axes = figure.subplots()
        draw_smoothed(axes, steps, losses, GREY, "training")
        if seen:
            axes.plot(seen, validation, "D", color=INK, markersize=7, label="validation")
        axes.set_title("loss, nats per token")
        axes.set_xlabel("optimizer step")
        axes.legend(loc="best", handlelength=1.4)
        svg = to_svg(
            figure, "sft-loss", f"SFT loss from {number(losses[0])} to {number(losses[-1])}."
        )
    caption = "SFT's loss on the demonstrations that it learns from"
    if validation:
        caption += (
            f", {number(losses[-1])} at the end, and {number(validation[-1])} on validation prompts"
        )
    return Plot(
        "SFT: loss",
        svg,
        f"{caption}. A validation loss far above the training loss is overfitting.",
    )


def reward_loss_plot(run: RunRecord) -> Plot | None:
    """The reward model's loss on what it trains on."""
    steps, (losses,) = _series(run.metrics("reward"), ("loss",))
    if len(steps) < 2:
        return None
    with canvas() as figure:
        axes = figure.subplots()
        axes.axhline(COIN_LOSS, color=GREY, linewidth=1.2, dashes=(4, 3))
        draw_smoothed(axes, steps, losses, TEAL)
        axes.set_title("loss, nats per pair")
        axes.set_xlabel("optimizer step")
        svg = to_svg(
            figure,
            "reward-loss",
            f"Reward model loss from {number(losses[0])} to {number(losses[-1])}.",
        )
    return Plot(
        "Reward model: loss",
        svg,
        f"The reward model's loss on its training rankings, {number(losses[-1])} at the end; a "
        f"coin would have {number(COIN_LOSS)} (dashed). {_gap(run)}",
    )


def _gap(run: RunRecord) -> str:
    reward = run.result("reward")
    said = [
        f"{percent(reward[split]['accuracy']['value'])} on {split} prompts"
        for split in ("train", "validation", "test")
        if split in reward
    ]
    return f"Accuracy: {', '.join(said)}." if said else ""


def _series(rows: Sequence[Json], names: Sequence[str]) -> tuple[list[int], list[list[float]]]:
    """Steps and values of the rows that log every one of `names` at a step; a summary that repeats
    the last step is left out.
    """
    steps: list[int] = []
    values: list[list[float]] = [[] for _ in names]
    for row in rows:
        if "step" not in row or not all(name in row for name in names):
            continue
        if "train_runtime" in row or (steps and row["step"] <= steps[-1]):
            continue
        steps.append(row["step"])
        for column, name in zip(values, names, strict=True):
            column.append(float(row[name]))
    return steps, values
