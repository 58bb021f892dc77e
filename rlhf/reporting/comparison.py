"""Several runs on one page: what differs between them, and what came of it.

Only runs that were judged on the same test prompts by the same judge can stand side by side.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlhf.data.identity import Json
from rlhf.data.jsonl import AtomicText
from rlhf.data.policies import policy_name
from rlhf.evaluation.spelling import listed
from rlhf.evaluation.winrate import WinRate, win_rate
from rlhf.reporting.caution import Caution
from rlhf.reporting.cautions import cautions_of
from rlhf.reporting.costs import costs_of_run, energy, grams, small
from rlhf.reporting.formatting import (
    ABSENT,
    count,
    day,
    duration,
    kl,
    number,
    percent,
    percent_range,
    with_span,
)
from rlhf.reporting.frontier import frontiers_plot
from rlhf.reporting.length import held_out
from rlhf.reporting.policies import ordered
from rlhf.reporting.reading import RunRecord, read_run
from rlhf.reporting.report import filled
from rlhf.reporting.samples import is_judged
from rlhf.reporting.verdict import Verdict, verdict_of
from rlhf.tracking.costs import Costs

Named = tuple[str, RunRecord]
OWN = {"name", "runs_dir"}  # of every run its own, and no difference worth telling


def write_comparison(run_folders: Sequence[Path], target: Path) -> Path:
    """Writes a page that compares the newest rounds of these runs to `target`.

    Raises ValueError where they cannot be compared.
    """
    runs = named([(folder, read_run(folder)) for folder in run_folders])
    check_comparable(runs)
    page = filled("comparison.html", _content(runs))
    with AtomicText(target) as file:
        file.write(page)
    return target


def named(runs: Sequence[tuple[Path, RunRecord]]) -> list[Named]:
    """Each run with a name of its own: the folder's, with the folders above it where two are alike.

    Raises ValueError where a run is given twice.
    """
    paths = [folder.resolve() for folder, _ in runs]
    twice = next((path for path, times in Counter(paths).items() if times > 1), None)
    if twice is not None:
        raise ValueError(f"{twice.name} is given twice: name each run once")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return [
        ("/".join(path.parts[-depth:]), run) for path, (_, run) in zip(paths, runs, strict=True)
    ]


def check_comparable(runs: Sequence[Named]) -> None:
    """Raises ValueError that names two runs which cannot stand side by side, and says why."""
    for name, run in runs:
        if not run.result("evaluate"):
            raise ValueError(f"{name} has not compared its policies yet: bring it up to date first")
    (first, base), *others = runs
    asked = {row["prompt_id"] for row in base.answers}
    judge = base.result("evaluate")["judge"]
    for name, run in others:
        shared = asked & {row["prompt_id"] for row in run.answers}
        if len(shared) < max(len(asked), len(run.answers)):
            raise ValueError(
                f"{first} and {name} were judged on different test prompts ({count(len(asked))} "
                f"and {count(len(run.answers))}, {count(len(shared))} of them the same), so their "
                "figures cannot stand side by side: evaluate both on the same prompts"
            )
        if run.result("evaluate")["judge"] != judge:
            raise ValueError(
                f"{first} was judged by {judge} and {name} by {run.result('evaluate')['judge']}, "
                "so their figures cannot stand side by side: give both the same evaluate.judge"
            )


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure with what stands small beside and below it."""

    value: str
    beside: str = ""
    below: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table: a name, and a cell for each run."""

    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """What one run says of itself: its verdict, and what to be wary of."""

    name: str
    when: str
    verdict: Verdict
    cautions: tuple[Caution, ...]


def policy_table(runs: Sequence[Named]) -> list[Row]:
    """Win rates of every policy, run beside run; the policies in the order of the first run."""
    names: dict[str, None] = {}
    for _, run in runs:
        names |= dict.fromkeys(ordered(run.result("evaluate")["policies"]))
    names |= {"sft": names.pop("sft")} if "sft" in names else {}
    return [
        Row(policy_name(name), tuple(_policy_cell(run, name) for _, run in runs)) for name in names
    ]


def _policy_cell(run: RunRecord, name: str) -> Cell:
    row = run.result("evaluate")["policies"].get(name)
    if row is None:
        return Cell(ABSENT)
    return Cell(
        percent(row["win_rate"]),
        percent_range(row["win_rate_low"], row["win_rate_high"]),
        f"{kl(row)} nats, {number(row['mean_tokens'], 0)} tokens",
    )


def on_one_scale(runs: Sequence[Named]) -> bool:
    """Whether what the judge gave answers of one run can be held against what it gave those of
    another: a language model only ever said which of two it prefers, its run's own SFT being one.
    """
    return not str(runs[0][1].result("evaluate")["judge"]).startswith("endpoint:")


def against_first(runs: Sequence[Named]) -> list[tuple[str, WinRate]]:
    """The best policy of each other run against the best of the first, prompt by prompt."""
    theirs = _judged(runs[0][1])
    found = []
    for name, run in runs[1:]:
        ours = _judged(run)
        both = [one for one in theirs if one in ours]
        won = win_rate([ours[one] for one in both], [theirs[one] for one in both])
        found.append((best_of(name, run), won))
    return found


def best_of(name: str, run: RunRecord) -> str:
    """ "DPO of quickstart"."""
    return f"{policy_name(run.best)} of {name}"


def lead(runs: Sequence[Named]) -> str:
    """Which run's best policy to take, in a sentence."""
    base = best_of(*runs[0])
    found = against_first(runs)
    better = max(found, key=lambda one: one[1].low)
    if better[1].low > 0.5:
        name, won = better
        rate = with_span(won.rate, (won.low, won.high))
        return (
            f"{name} beats {base} in {rate} of the same {count(len(runs[0][1].answers))} prompts."
        )
    if all(won.high < 0.5 for _, won in found):
        return f"{base} beats the best policy of every other run."
    return f"No run's best policy is told apart from {base} as the better one."


def _row(name: str, won: WinRate) -> Row:
    rate = Cell(percent(won.rate), percent_range(won.low, won.high))
    return Row(name, (rate, Cell(count(won.wins)), Cell(count(won.ties)), Cell(count(won.losses))))


def _judged(run: RunRecord) -> dict[str, float]:
    """Prompt id -> what the judge gives the best policy's answer, where it said anything usable."""
    best = run.best
    return {
        row["prompt_id"]: row["answers"][best]["gold_reward"]
        for row in run.answers
        if is_judged(row, best)
    }


def differences(runs: Sequence[Named]) -> list[Row]:
    """The settings in which the configs differ."""
    flat = [_flattened(run.config) for _, run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
    return [
        Row(key, tuple(Cell(_spelled(one, key)) for one in flat))
        for key in keys
        if key not in OWN and len({_spelled(one, key) for one in flat}) > 1
    ]


def _flattened(config: Json, above: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, dict) and value:
            found |= _flattened(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = value
    return found


def _spelled(flat: dict[str, Any], key: str) -> str:
    value = flat.get(key)
    if value is None or isinstance(value, bool):
        return {None: ABSENT, True: "true", False: "false"}[value]
    return str(value)


def reward_table(runs: Sequence[Named]) -> list[Row]:
    """The reward models: accuracy, what it stands beside, calibration, certificate."""
    found = [(run, held_out(run.result("reward"))) for _, run in runs]
    measured = [one[1] if one else None for _, one in found]

    def cells(make: Any) -> tuple[Cell, ...]:
        return tuple(Cell(ABSENT) if one is None else make(one) for one in measured)

    return [
        Row(
            "accuracy on held-out prompts",
            cells(
                lambda one: Cell(
                    percent(one["accuracy"]["value"]),
                    percent_range(one["accuracy"]["low"], one["accuracy"]["high"]),
                )
            ),
        ),
        Row("longest is best", cells(lambda one: Cell(percent(one["length_baseline"]["value"])))),
        Row("calibration error", cells(lambda one: Cell(number(one["calibration_error"])))),
        Row(
            "certificate",
            tuple(Cell(run.certificate.get("verdict", "not certified")) for run, _ in found),
        ),
    ]


def cost_table(runs: Sequence[Named]) -> list[Row]:
    """What each run took: machine time, energy, money, people's time, rankings; without what no
    ledger knows.
    """
    spent = [costs_of_run(run, []) for _, run in runs]
    labels = [run.result("label") for _, run in runs]
    hours = [one["labeler_minutes"] / 60 if one else None for one in labels]
    seconds = [sum(stage.done.seconds for stage in run.stages.values()) for _, run in runs]
    currency = next((one.currency for one in spent if one is not None), "")
    from_ledgers = [
        _spent("lost in attempts that came to nothing", spent, _lost, duration),
        _spent("energy", spent, lambda one: one.total.kwh, energy),
        _spent("CO2e", spent, lambda one: one.total.co2e_kg, grams),
        _spent(f"machines and people, {currency}", spent, lambda one: one.money, _price),
    ]
    return [
        Row("time of all stages", tuple(Cell(duration(one)) for one in seconds)),
        *(row for row in from_ledgers if any(cell.value != ABSENT for cell in row.cells)),
        Row("rankings", tuple(Cell(count(one["rankings"]) if one else ABSENT) for one in labels)),
        Row("labeler hours", tuple(Cell(number(one, 1)) for one in hours)),
    ]


def _spent(
    name: str,
    runs: Sequence[Costs | None],
    amount: Callable[[Costs], float | None],
    spelled: Callable[[float], str],
) -> Row:
    found = [None if run is None else amount(run) for run in runs]
    return Row(name, tuple(Cell(ABSENT if one is None else spelled(one)) for one in found))


def _lost(costs: Costs) -> float | None:
    return costs.total.lost_seconds or None


def _price(money: float) -> str:
    return small(money, 2)


def warnings(runs: Sequence[Named]) -> list[str]:
    """What to bear in mind when reading the runs side by side."""
    starts = {run.stages["sft"].done.digest for _, run in runs if "sft" in run.stages}
    said = []
    met = on_one_scale(runs)
    if len(starts) > 1:
        instead = ": compare the judged rewards, or the best policies with one another"
        said.append(
            "The runs have different SFT policies, and each win rate is against the run's own"
            f"{instead if met else ''}."
        )
    if not met:
        said.append(
            "The judge compared each answer with SFT's of the same run, and never two runs: which "
            "run's policy is better, it did not say."
        )
    judge = runs[0][1].result("evaluate")["judge"]
    if not all(run.independent for _, run in runs):
        which = "reward model" if judge == "reward" else str(judge)
        said.append(
            f"Each run is judged by its own {which}, so that a better figure may be a kinder judge."
        )
    return said


def _content(runs: Sequence[Named]) -> dict[str, Any]:
    names = [name for name, _ in runs]
    first = runs[0][1].result("evaluate")
    plot = frontiers_plot(runs)
    return {
        "title": f"{len(runs)} runs compared",
        "subtitle": [
            listed(names),
            f"the same {count(first['prompts'], 'test prompt')}",
            f"judged by {first['judge']}",
        ],
        "names": names,
        "told": [
            Told(name, day(run.last.done.finished_at), verdict_of(run), tuple(cautions_of(run)))
            for name, run in runs
        ],
        "warnings": warnings(runs),
        "policies": policy_table(runs),
        "lead": lead(runs) if on_one_scale(runs) else "",
        "against": [_row(*one) for one in against_first(runs)] if on_one_scale(runs) else [],
        "base": best_of(*runs[0]),
        "plots": [plot] if plot else [],
        "differences": differences(runs),
        "reward": reward_table(runs),
        "costs": cost_table(runs),
    }
