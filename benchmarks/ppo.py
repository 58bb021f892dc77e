"""PPO against TRL 1.12's `PPOTrainer`: the same models, prompts, lengths and epochs.

`python -m benchmarks.ppo [--quick] [--cpu] [--threads N] [--peer PYTHON] [--only CASE]`: every
measurement is a process of its own, ours and TRL's by turns; a rollout is timed from log to log,
and the first one warms up. TRL stands in an environment of its own, by default `.bench/trl112`
(`python -m venv .bench/trl112`, then pip install "trl==1.12.*" "torch==2.13.0"). All in float32.

same_work: every response is cut at its full length, a value model of its own, neither recomputes
activations. default: the same, each with its defaults: a value head on the policy here, a value
model and recomputed activations there; default_both_plain: TRL without recomputing; as_they_come:
with the passes over a rollout that each makes by default, one here and four there. mixed_length:
responses end after any token, a value model of its own, neither recomputes. *_compiled: both are
asked for `torch_compile`, which TRL's trainer does not heed; the first rollout compiles. 150k: the
memory that training adds with a vocabulary of 151,936. time_to_reward: seconds until the score has
risen by four fifths of what both reach, in responses of mixed length, each with a value model that
starts as the reward model (what `rlhf run` does) and its defaults otherwise: four optimizer steps a
rollout, in one pass here, in four passes there. TRL's mini-batches are no steps, so beside it
stands TRL in rollouts of a quarter, one pass each. The reward counts words, so that it can be
learned.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.by_turns import by_turns
from benchmarks.ppo_models import write_models
from rlhf.data.identity import Json

PEER = Path(".bench/trl112/bin/python")
WORKER = Path(__file__).with_name("ppo_worker.py")
ROLLOUT = 32
# The goal: this share of what both reach, each curve a mean over the last episodes.
SHARE_OF_RISE, SMOOTHED = 0.8, 3 * ROLLOUT


@dataclass(frozen=True, slots=True)
class Case:
    """What both do: `ends` is the chance that a response ends after a token."""

    name: str
    vocab_size: int = 2048
    hidden_size: int = 192
    num_layers: int = 6
    ends: float = 0.0
    prompt_tokens: int = 32
    response_tokens: int = 64
    shared: bool = False
    recompute: bool = False  # TRL alone, whose default it is
    counts: bool = False  # a reward that can be learned
    compiled: bool = False
    rollout: int = ROLLOUT  # episodes
    rollouts: int = 3
    epochs: int | None = 4  # None: as each has it
    learning_rate: float = 1e-5
    seed: int = 1

    def settings(self) -> Json:
        """The trainers' arguments."""
        passes = {} if self.epochs is None else {"num_ppo_epochs": self.epochs}
        return passes | {
            "total_episodes": self.rollouts * self.rollout,
            "per_device_train_batch_size": 8,
            "gradient_accumulation_steps": self.rollout // 8,
            "response_length": self.response_tokens,
            "learning_rate": self.learning_rate,
            "local_rollout_forward_batch_size": self.rollout,
            "seed": self.seed,
            "torch_compile": self.compiled,
        }


SAME = Case("same_work")
DEFAULT = Case("default", shared=True, recompute=True)
MIXED = Case("mixed_length", ends=1 / 24, response_tokens=128)
SPEED = (
    SAME,
    replace(SAME, name="same_work_compiled", compiled=True),
    DEFAULT,
    replace(DEFAULT, name="default_compiled", compiled=True),
    replace(DEFAULT, name="default_both_plain", recompute=False),
    replace(DEFAULT, name="as_they_come", epochs=None),
    MIXED,
    replace(MIXED, name="mixed_length_compiled", compiled=True),
)
LARGE = Case("150k", vocab_size=151_936, hidden_size=64, num_layers=2, rollouts=1, epochs=1)
REWARD = Case(
    "time_to_reward",
    vocab_size=256,
    counts=True,
    ends=1 / 24,
    response_tokens=128,
    recompute=True,
    rollouts=12,
    epochs=None,
    learning_rate=1e-3,
)
SMALL = replace(REWARD, rollout=ROLLOUT // 4, rollouts=4 * REWARD.rollouts, epochs=1)
REWARD_SEEDS = (1, 2, 3)


class Bench:
    """Runs workers and keeps their models."""

    def __init__(self, peer: Path, threads: int, scratch: Path, *, cpu: bool) -> None:
        self.peer, self.threads, self.scratch = peer, threads, scratch
        self.clock = "cpu_" if cpu else ""

    def run(self, who: str, case: Case) -> Json:
        """What one worker measured."""
        folder = (
            self.scratch / f"{case.vocab_size}-{case.hidden_size}-{case.ends:.3f}-{case.counts}"
        )
        if not folder.exists():
            write_models(
                folder,
                vocab_size=case.vocab_size,
                hidden_size=case.hidden_size,
                num_layers=case.num_layers,
                ends=case.ends,
                counts=case.counts,
            )
        asked: Json = {
            "folder": str(folder),
            "threads": self.threads,
            "vocab_size": case.vocab_size,
            "prompt_tokens": case.prompt_tokens,
            "rows": case.rollout * (case.rollouts + 1),
            "ends": case.ends > 0,
            "shared": case.shared,
            "recompute": case.recompute,
            "settings": case.settings(),
        }
        python = sys.executable if who == "ours" else str(self.peer)
        environment = {**os.environ, "OMP_NUM_THREADS": str(self.threads)}
        environment["PYTHONPATH"] = str(Path.cwd()) if who == "ours" else ""
        done = subprocess.run(
            [python, str(WORKER), who, json.dumps(asked)],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        if done.returncode:
            raise RuntimeError(f"{who}, {case.name}: {done.stderr[-1500:]}")
        found: Json = json.loads(done.stdout.strip().splitlines()[-1])
        return found


def speed(bench: Bench, case: Case, rounds: int) -> Json:
    """Samples a second of each, and the ratio of the medians."""
    found = by_turns(rounds, lambda who, _: median(bench.run(who, case)[f"{bench.clock}seconds"]))
    print(
        f"{case.name:22}{ROLLOUT / found.ours:8.1f}{ROLLOUT / found.trl:8.1f}   samples/s"
        f"{found.speedup:9.2f}   {found.low:.2f} to {found.high:.2f}",
        flush=True,
    )
    each = {f"samples_per_second_{case.name}": round(ROLLOUT / found.ours, 2)}
    return found.to_json(case.name) | each


def memory(bench: Bench) -> Json:
    """What training adds to the peak of a process at a large vocabulary, ours over TRL's."""
    found = {who: bench.run(who, LARGE) for who in ("ours", "trl")}
    added = {who: one["added_mb"] for who, one in found.items()}
    whole = {who: one["peak_mb"] for who, one in found.items()}
    ratio = added["ours"] / added["trl"]
    print(
        f"{'150k':22}{added['ours']:8.0f}{added['trl']:8.0f}   MB added{ratio:10.2f}   "
        f"whole process {whole['ours'] / whole['trl']:.2f}",
        flush=True,
    )
    return {
        "peak_memory_ratio_150k": round(ratio, 3),
        "peak_memory_ratio_150k_whole_process": round(whole["ours"] / whole["trl"], 3),
    }


def time_to_reward(bench: Bench, seeds: Sequence[int]) -> Json:
    """Seconds until the score has risen, ours over TRL's, as a median over seeds."""
    ratios: dict[str, list[float | None]] = {"": [], "_small_rollouts": []}
    for seed in seeds:
        ours = Curve.of(bench, "ours", replace(REWARD, seed=seed))
        theirs = Curve.of(bench, "trl", replace(REWARD, seed=seed))
        small = Curve.of(bench, "trl", replace(SMALL, seed=seed))
        start = fmean((ours.scores[0], theirs.scores[0]))
        reached = min(max(ours.scores), max(theirs.scores))
        goal = start + SHARE_OF_RISE * (reached - start)
        took = [one.reaches(goal) for one in (ours, theirs, small)]
        ratios[""].append(_ratio(took[0], took[1]))
        ratios["_small_rollouts"].append(_ratio(took[0], took[2]))
        print(
            f"{'time_to_reward':22}{_seconds(took[0])}{_seconds(took[1])}   seconds"
            f"{_ratio(took[0], took[1]) or math.nan:11.2f}   seed {seed}, score {start:.2f} to "
            f"{goal:.2f}; TRL in small rollouts {_seconds(took[2])}",
            flush=True,
        )
    found: Json = {}
    for name, each in ratios.items():
        known = [one for one in each if one is not None]
        found[f"time_to_reward_ratio{name}"] = round(median(known), 3) if known else None
        found[f"time_to_reward_ratios{name}"] = [one and round(one, 3) for one in each]
    return found


@dataclass(frozen=True, slots=True)
class Curve:
    """A training's scores, each a mean over the last episodes, and when they were reached."""

    scores: list[float]
    seconds: list[float]

    @classmethod
    def of(cls, bench: Bench, who: str, case: Case) -> "Curve":
        """One training."""
        found = bench.run(who, case)
        span, scores = SMOOTHED // case.rollout, found["scores"]
        smooth = [fmean(scores[max(0, n + 1 - span) : n + 1]) for n in range(len(scores))]
        return cls(smooth, found[f"{bench.clock}elapsed"])

    def reaches(self, goal: float) -> float | None:
        """Seconds until the score is at the goal; None where it never is."""
        pairs = zip(self.scores, self.seconds, strict=True)
        return next((at for score, at in pairs if score >= goal), None)


def _ratio(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one / other


def _seconds(took: float | None) -> str:
    return f"{'never':>8}" if took is None else f"{took:8.1f}"


def main() -> None:
    """Measures, prints a table, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round of each")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of a tensor operation")
    parser.add_argument("--peer", type=Path, default=PEER, help="a python with TRL 1.12")
    parser.add_argument(
        "--cpu", action="store_true", help="CPU seconds: what a machine that is busy can tell"
    )
    parser.add_argument("--only", help="one case")
    asked = parser.parse_args()
    if not asked.peer.exists():
        raise SystemExit(f"no TRL at {asked.peer}: see the docstring of benchmarks/ppo.py")
    found: dict[str, Any] = {"threads": asked.threads, "clock": "cpu" if asked.cpu else "wall"}
    print(f"{'':22}{'ours':>8}{'TRL':>8}{'':12}{'ratio':>9}   lowest to highest", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(asked.peer.absolute(), asked.threads, Path(scratch), cpu=asked.cpu)
        for case in SPEED:
            if asked.only in {None, case.name}:
                found |= speed(bench, case, 1 if asked.quick else 3)
        if asked.only in {None, "150k"}:
            found |= memory(bench)
        if asked.only in {None, "time_to_reward"}:
            found |= time_to_reward(bench, REWARD_SEEDS[: 1 if asked.quick else None])
    print(json.dumps(found))


if __name__ == "__main__":
    main()
