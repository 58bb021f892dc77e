"""Two trainers on the same rankings by turns: what one costs beside the other."""

from collections.abc import Callable, Sequence
from statistics import median

from benchmarks.planted_rankings import TRAINERS, Shape, rankings
from rlhf.data.identity import Json
from rlhf.reward.rankings import RankedPrompt

Train = Callable[[str, Sequence[RankedPrompt], int], float]


def heading() -> None:
    """The line above what `speed_by_turns` prints."""
    print(f"{'':16} {'ours':>9} {'TRL':>9} {'times faster':>13}   lowest to highest", flush=True)


def speed_by_turns(shape: Shape, *, rounds: int, steps: int, train: Train) -> Json:
    """The ratio of the medians of what `train(trainer, data, seed)` says in seconds, with the
    lowest and the highest ratio of a round; a round before them warms up.
    """
    data = rankings(shape, shape.prompts * steps, seed=0)
    seconds: dict[str, list[float]] = {name: [] for name in TRAINERS}
    for number in range(rounds + 1):
        for name in TRAINERS if number % 2 else TRAINERS[::-1]:
            took = train(name, data, number)
            if number:
                seconds[name].append(took)
    ratios = [trl / ours for ours, trl in zip(seconds["ours"], seconds["trl"], strict=True)]
    middle = {name: median(times) for name, times in seconds.items()}
    speedup = middle["trl"] / middle["ours"]
    print(
        f"{shape.name:16} {middle['ours']:7.2f} s {middle['trl']:7.2f} s {speedup:13.2f}   "
        f"{min(ratios):.2f} to {max(ratios):.2f}",
        flush=True,
    )
    return {
        f"speedup_{shape.name}": round(speedup, 3),
        f"speedup_{shape.name}_spread": [round(min(ratios), 3), round(max(ratios), 3)],
    }
