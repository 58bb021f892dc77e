"""How much of the best possible gold reward a learned reward reaches, at the same KL.

`python -m benchmarks.frontier [--quick]`: the controlled world, exact optimal policies, so that
what is measured is the reward and nothing else. Every seed is a world, a crew and labels of its
own. With `--trained`, what policies reach that the shipped trainers trained in it
(`benchmarks.trained_frontier`). The last line is JSON.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.crew import Labels, Temper, compare, crew
from benchmarks.policies import best_of, earned, efficiency, optimal_at
from benchmarks.rewards import comparisons_of, ensemble, from_tokens, smoothed, squared
from benchmarks.trained_frontier import run as trained
from benchmarks.world import Array, Case, World, make_world
from rlhf.feedback.manners import labeler_weights
from rlhf.reward.labelers import aware_weights, learn, plain_weights

NATS = (1.0, 2.0, 4.0)
CLEAN_SEEDS = 100  # worlds with a clean crew: over 20, the mean is as unsure as it is far from 1
SIZES = (100, 300, 1000)
CREWS: dict[Case, tuple[Temper, ...]] = {
    "well-specified": ("careful", "random", "contrary", "longest", "position", "tying"),
    "mis-specified": ("careful", "random", "contrary", "longest"),
    "trap": ("careful", "random", "contrary", "longest"),
}
KEYS: dict[Temper, str] = {"random": "random", "longest": "length", "contrary": "contrary"}
BAD = {*KEYS, "position"}
CREW = 10
NUM_BAD = 2
Figures = dict[str, float]  # eta(1), eta(2), eta(4) and what else is measured of one method
Rows = dict[tuple[str, str, int, str], Figures]  # case, crew, labels, method


@dataclass(frozen=True, slots=True)
class Judge:
    """The test prompts of a world, and the most gold that any policy earns there by KL in nats."""

    world: World
    reference: Array
    gold: Array
    most: dict[float, float]

    @classmethod
    def of(cls, world: World) -> "Judge":
        reference, gold = world.logprobs[world.test], world.gold[world.test]
        most = {
            nats: earned(optimal_at(gold, reference, nats), reference, gold).gold for nats in NATS
        }
        return cls(world, reference, gold, most)

    def etas(self, reward: Array) -> Figures:
        """eta(K) of a reward of the test prompts' responses, (p, N)."""
        return {
            f"eta{nats:g}": earned(
                optimal_at(reward, self.reference, nats), self.reference, self.gold
            ).gold
            / most
            for nats, most in self.most.items()
        }

    def etas_of(self, weights: Array) -> Figures:
        """eta(K) of the reward with these weights on the published features."""
        return self.etas(self.world.rewards(weights, self.world.test))


@dataclass(frozen=True, slots=True)
class Job:
    """One world to measure: the crews in it, and whether other losses and tokens are tried too."""

    case: Case
    seed: int
    tempers: tuple[Temper, ...]
    losses: bool = False
    tokens: bool = False


def measure_seed(job: Job) -> Rows:
    """All that is measured of one world: every crew, every number of labels, every method."""
    case, seed = job.case, job.seed
    world = make_world(case, seed=seed)
    judge = Judge.of(world)
    rows: Rows = {}
    for temper in job.tempers:
        for size in SIZES:
            labels = compare(world, crew(temper, size=CREW, share=NUM_BAD / CREW), size, seed=seed)
            for method, figures in _labelers(judge, labels).items():
                if method != "dropped by name" or temper in BAD:
                    rows[case, temper, size, method] = figures
            if temper == "careful" and job.losses:
                for method, figures in _losses(judge, labels, seed, job.tokens).items():
                    rows[case, temper, size, method] = figures
    for method, figures in _fixed(judge, seed).items():
        rows[case, "", 0, method] = figures
    return rows


def _labelers(judge: Judge, labels: Labels) -> dict[str, Figures]:
    """Plain, the bad ones dropped by name, labeler-aware with the gate and without, and plain with
    the weights that `labeler_weights` gives.
    """
    made = comparisons_of(judge.world, labels)
    learned = learn(made, CREW)
    ungated, _ = aware_weights(made, CREW)
    weight = labeler_weights(dict(zip(map(str, range(CREW)), learned.reliability, strict=True)))
    weighted = replace(made, weight=np.array([weight[str(one)] for one in made.labeler]))
    plain = plain_weights(made)
    value = [one.value for one in learned.reliability]
    pairs = [(bad, good) for bad in value[:NUM_BAD] for good in value[NUM_BAD:]]
    auc = np.mean([(bad < good) + 0.5 * (bad == good) for bad, good in pairs])
    found = {
        "plain": plain,
        "dropped by name": plain_weights(made[made.labeler >= NUM_BAD]),
        "aware": learned.weights,
        "aware, no gate": ungated,
        "weighted": plain_weights(weighted) if learned.aware else plain,
    }
    rows = {name: judge.etas_of(one) for name, one in found.items()}
    rows["aware"] |= {"auc": float(auc), "gate": float(learned.aware)}
    return rows


def _losses(judge: Judge, labels: Labels, seed: int, tokens: bool) -> dict[str, Figures]:
    """Other losses, ensembles, and a reward that reads tokens."""
    world = judge.world
    made = comparisons_of(world, labels)
    members = ensemble(world, made, world.test, seed=seed)
    rewards = {
        "label smoothing 0.1": world.rewards(smoothed(made), world.test),
        "squared loss": world.rewards(squared(made), world.test),
        "ensemble of 5, mean": members.mean(0),
        "ensemble of 5, minimum": members.min(0),
        "ensemble of 5, mean - std": members.mean(0) - members.std(0),
    }
    if tokens and len(labels) > min(SIZES):
        rewards["from tokens"] = from_tokens(world, labels, seed=seed)(world.test)
    return {name: judge.etas(reward) for name, reward in rewards.items()}


def _fixed(judge: Judge, seed: int) -> dict[str, Figures]:
    """What needs no temperature, or no labels: at eta(2), or at the policy's own KL."""
    world, reference, gold = judge.world, judge.reference, judge.gold
    longest = np.broadcast_to(world.lengths.astype(np.float64), gold.shape)
    labels = compare(world, crew("careful", size=CREW), max(SIZES), seed=seed)
    learned = world.rewards(learn(comparisons_of(world, labels), CREW).weights, world.test)
    rows = {
        "SFT (the reference)": {"own": efficiency(reference, reference, gold)},
        "null": judge.etas(np.zeros_like(gold)),
        "longest": judge.etas(longest),
    }
    for n in (4, 16):
        policy = best_of(n, learned, reference)
        rows[f"best of {n}"] = {"own": efficiency(policy, reference, gold)}
    return rows


def summarise(seeds: Sequence[Rows]) -> dict[str, float]:
    """The keys of the last line, from the well-specified case (means over seeds)."""
    mean: dict[tuple[str, str, int, str], float] = {
        key: float(np.mean([rows[key]["eta2"] for rows in seeds if key in rows]))
        for rows in seeds
        for key in rows
        if "eta2" in rows[key]
    }
    keys: dict[str, float] = {}
    case = "well-specified"
    for size in (300, 1000):
        clean = case, "careful", size, "aware"
        keys[f"eta2_exact_{size}"] = mean[clean]
        etas = [rows[clean]["eta2"] for rows in seeds if clean in rows]
        keys[f"eta2_exact_{size}_standard_error"] = float(np.std(etas) / np.sqrt(len(etas)))
        first = etas[: sum((case, "random", size, "plain") in rows for rows in seeds)]
        keys[f"eta2_exact_{size}_first_seeds"] = float(np.mean(first))  # those of the other crews
        for temper, name in KEYS.items():
            plain, dropped, aware = (
                mean[case, temper, size, method] for method in ("plain", "dropped by name", "aware")
            )
            keys[f"recovered_{name}_{size}"] = (aware - plain) / (dropped - plain)
    for name, cases in (("", [case]), ("_elsewhere", ["mis-specified", "trap"])):
        lost = [
            mean[where, temper, size, "plain"] - value
            for (where, temper, size, method), value in mean.items()
            if method == "aware" and where in cases
        ]
        if lost:
            keys[f"aware_worst_mean_loss{name}"] = max(lost)
    keys["flag_auc_1000"] = float(
        np.mean(
            [
                rows[case, temper, 1000, "aware"]["auc"]
                for rows in seeds
                for temper in KEYS
                if (case, temper, 1000, "aware") in rows
            ]
        )
    )
    return {name: round(value, 4) for name, value in keys.items()}


def table(seeds: Sequence[Rows]) -> str:
    """A Markdown table: the mean of each figure, the least and the most of eta(2), each seed's."""
    collected: dict[tuple[str, str, int, str], list[Figures]] = defaultdict(list)
    for rows in seeds:
        for key, figures in rows.items():
            collected[key].append(figures)
    lines = [
        "| case | 20 % of the crew | labels | reward | eta(1) | eta(2) | eta(4) | eta(2) by seed |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (case, temper, size, method), all_figures in collected.items():
        etas = [
            "–" if name not in all_figures[0] else f"{np.mean([f[name] for f in all_figures]):.3f}"
            for name in ("eta1", "eta2", "eta4")
        ]
        if "own" in all_figures[0]:
            etas[1] = f"{np.mean([f['own'] for f in all_figures]):.3f} at its own KL"
        by_seed = " ".join(
            f"{f.get('eta2', f.get('own', 0.0)):.2f}".replace("0.", ".", 1) for f in all_figures
        )
        cells = [case, temper or "–", str(size or "–"), method, *etas, by_seed]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="5 seeds, one case, no tokens")
    parser.add_argument(
        "--seeds", type=int, help="worlds of each case, for every crew (default 20)"
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--trained", action="store_true", help="trained policies: 20 seeds, or 3 with --quick"
    )
    args = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes are the parallelism
    if args.trained:
        print(json.dumps(trained(args.seeds or (3 if args.quick else 20), args.processes)))
        return
    num_seeds = args.seeds or (5 if args.quick else 20)
    cases: list[Case] = ["well-specified"] if args.quick else list(CREWS)
    jobs = [
        Job(case, seed, CREWS[case], case == "well-specified", not args.quick)
        for case in cases
        for seed in range(num_seeds)
    ]
    if not args.quick:
        more = range(num_seeds, max(num_seeds, CLEAN_SEEDS))
        jobs += [Job("well-specified", seed, ("careful",)) for seed in more]
    started = time.monotonic()
    made: list[Rows] = []
    with multiprocessing.get_context("spawn").Pool(args.processes) as pool:
        for rows in pool.imap(measure_seed, jobs):
            made.append(rows)
            seconds = time.monotonic() - started
            print(f"\r{len(made)} of {len(jobs)} worlds, {seconds:.0f} s", end="", file=sys.stderr)
    print(file=sys.stderr)
    print(table(made))
    print(f"\n{len(jobs)} worlds, {time.monotonic() - started:.0f} s, {args.processes} processes\n")
    print(json.dumps(summarise(made)))


if __name__ == "__main__":
    main()
