"""Reading a run folder: what each stage completed, as it stands on disk.

The evaluation names what it read, so that the page shows one consistent lineage; where there is no
evaluation yet, the stages in use are taken.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json, read_jsonl
from rlhf.data.records import Ranking
from rlhf.evaluation.evidence import is_independent
from rlhf.tracking.run_folder import METRICS, Completion, StageFolder, read_completion

Row = TypeVar("Row")

STAGES = (
    "prompts",
    "pretrain",
    "sft",
    "sample",
    "label",
    "preferences",
    "reward",
    "certify",
    "monitor",
    "dpo",
    "ppo",
    "rloo",
    "rejection",
    "evaluate",
    "probe",
    "judge",
)
# What a row of `answers.jsonl` and each answer in it hold at least.
ROW = {"prompt_id", "prompt", "family", "answers"}
ANSWER = {"text", "tokens", "finished", "gold_reward", "proxy_reward"}


@dataclass(frozen=True, slots=True)
class StageRecord:
    """One completed stage: its folder, its completion marker, and what is written about it."""

    name: str
    folder: Path
    done: Completion
    environment: Json
    inputs: dict[str, str]
    metrics: tuple[Json, ...]

    @property
    def result(self) -> Json:
        return self.done.result


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One round of a run, as far as it has come.

    `config` is the resolved config of the run ({} where no stage kept it). `newer` names stages
    that were completed again after the evaluation, `faults` the files that could not be read.
    `certificate` is that of the reward model ({} where there is none).
    """

    name: str
    round: str
    stages: dict[str, StageRecord]
    config: Json
    answers: tuple[Json, ...]
    rankings: tuple[Ranking, ...]
    newer: tuple[str, ...]
    faults: tuple[str, ...] = field(default=())
    certificate: Json = field(default_factory=dict)

    def result(self, stage: str) -> Json:
        """The figures of a stage; {} where it is not complete."""
        return self.stages[stage].result if stage in self.stages else {}

    def metrics(self, stage: str) -> tuple[Json, ...]:
        """What a stage logged, in order; empty where it is not complete."""
        return self.stages[stage].metrics if stage in self.stages else ()

    @property
    def last(self) -> StageRecord:
        """The stage that was finished last."""
        return max(self.stages.values(), key=lambda stage: stage.done.finished_at)

    @property
    def best(self) -> str:
        """The policy that the run's verdict is on: people's best where they compared, else the
        judge's; "" where there is no evaluation.
        """
        judged = self.result("judge") or self.result("evaluate")
        return str(judged.get("best", ""))

    def people(self, policy: str) -> Json:
        """What people said of a policy; {} where they did not compare it with SFT."""
        return dict(self.result("judge").get("policies", {}).get(policy, {}))

    @property
    def independent(self) -> bool:
        """Whether the automatic judge is one that no policy was trained or chosen by."""
        found = self.result("evaluate")
        return not found or is_independent(found)

    @property
    def simulated(self) -> bool:
        """Whether simulated labelers ranked."""
        return bool(self.config.get("labelers") == "simulated")


def read_run(run_folder: Path) -> RunRecord:
    """The newest round of a run.

    Raises ValueError where the folder is missing or no stage of it is complete.
    """
    rounds = sorted(run_folder.glob("round-*"), key=_round_number)
    if not rounds:
        raise ValueError(f"no run in {run_folder}: expected a folder with round-1 in it")
    faults: list[str] = []
    found = _lineage(run_folder, rounds[-1], faults)
    if not found:
        raise ValueError(f"no stage of {run_folder} is complete yet: nothing to report")
    newer = [
        name
        for name, stage in found.items()
        if (now := _current(rounds[-1] / name)) is not None and now != stage.folder.resolve()
    ]
    return RunRecord(
        run_folder.name,
        rounds[-1].name,
        found,
        _run_config(found),
        tuple(_rows(found, "evaluate", "answers.jsonl", _judged, faults)),
        tuple(_rows(found, "label", "rankings.jsonl", Ranking.from_json, faults)),
        tuple(newer),
        tuple(faults),
        _json(found["certify"].folder / "certificate.json") if "certify" in found else {},
    )


def _round_number(folder: Path) -> int:
    tail = folder.name.removeprefix("round-")
    return int(tail) if tail.isdecimal() else -1


def _current(root: Path) -> Path | None:
    folder = StageFolder(root).current()
    return folder if folder is not None and (folder / "complete.json").exists() else None


def _lineage(run_folder: Path, round_folder: Path, faults: list[str]) -> dict[str, StageRecord]:
    """The stages to show, in order: what the evaluation read, else all that are in use."""
    judged = _current(round_folder / "evaluate")
    folders: dict[str, Path] = {}
    if judged is not None and _inputs(judged):
        waiting = {"evaluate": judged}
        while waiting:
            name, folder = waiting.popitem()
            folders[name] = folder
            read = {n: run_folder / path for n, path in _inputs(folder).items()}
            waiting |= {n: path for n, path in read.items() if n not in folders}
        # What the evaluation does not read belongs to it where it read the same.
        for name, need in (("judge", "evaluate"), ("probe", "evaluate"), ("certify", "reward")):
            beside = None if name in folders else _current(round_folder / name)
            if beside is None or need not in folders:
                continue
            if (run_folder / _inputs(beside)[need]).resolve() == folders[need].resolve():
                folders[name] = beside
    else:
        folders = {n: f for n in STAGES if (f := _current(round_folder / n)) is not None}
    return {
        name: _stage(name, folders[name], faults)
        for name in STAGES
        if name in folders and (folders[name] / "complete.json").exists()
    }


def _inputs(folder: Path) -> dict[str, str]:
    rows = _json(folder / "inputs.json").get("stages", {})
    return {name: row["path"] for name, row in rows.items() if name in STAGES}


def _stage(name: str, folder: Path, faults: list[str]) -> StageRecord:
    done = read_completion(folder)
    assert done is not None, "only complete stages are read"
    if not (folder / METRICS).exists():
        faults.append(f"{name}/{METRICS} is missing")
    rows = tuple(_readable(folder / METRICS, f"{name}/{METRICS}", _same, faults))
    environment = _json(folder / "environment.json")
    return StageRecord(name, folder, done, environment, _inputs(folder), rows)


def _json(path: Path) -> Json:
    found = read_json(path) if path.exists() else {}
    return found if isinstance(found, dict) else {}


def _run_config(stages: dict[str, StageRecord]) -> Json:
    """The config of the run, from the last stage that kept it."""
    for stage in reversed(stages.values()):
        run = _json(stage.folder / "config.json").get("run")
        if isinstance(run, dict):
            return run
    return {}


def _same(row: Json) -> Json:
    return row


def _judged(row: Json) -> Json:
    """A row of answers; ValueError where it lacks what the page reads of it."""
    answers = row["answers"].values()
    if ROW - row.keys() or any(ANSWER - one.keys() for one in answers):
        raise ValueError("not a prompt with its judged answers")
    return row


def _rows(
    stages: dict[str, StageRecord],
    stage: str,
    name: str,
    make: Callable[[Json], Row],
    faults: list[str],
) -> Iterator[Row]:
    if stage in stages:
        yield from _readable(stages[stage].folder / name, f"{stage}/{name}", make, faults)


def _readable(
    path: Path, shown: str, make: Callable[[Json], Row], faults: list[str]
) -> Iterator[Row]:
    """The rows up to the first that cannot be read, which is noted in `faults`."""
    if not path.exists():
        return
    number = 0
    try:
        for row in read_jsonl(path):
            yield make(row)
            number += 1
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).replace(str(path), path.name)
        faults.append(f"{shown} could be read up to row {number} only ({reason})")
