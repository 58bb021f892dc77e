"""The runner: plans the stages of a run, skips what is complete, runs the rest, keeps the evidence.

A stage's fingerprint is the hash of its name, its version, its part of the config and the hashes
of what it reads. What is complete for a fingerprint is never done again and never overwritten.
"""

import os
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pipelines.config import RunConfig
from pipelines.fitness import needs_fitness, refusals
from pipelines.graph import check_stage, stages_of
from pipelines.metrics import MetricsLog
from pipelines.observer import Observer
from pipelines.reasons import why_again
from pipelines.stage import Stage, UnfitRewardError, WaitingForPeopleError, Work
from pipelines.summary import still_in_use, write_summary
from rlhf.data.identity import Json, canonical, content_id
from rlhf.data.jsonl import write_json
from rlhf.data.policies import TRAINED
from rlhf.tracking.alerts import alerts_of, failure
from rlhf.tracking.environment import environment
from rlhf.tracking.ledger import booked
from rlhf.tracking.mirror import Mirror, open_mirror
from rlhf.tracking.run_folder import Completion, StageFolder, owned


@dataclass(frozen=True, slots=True)
class Step:
    """A stage in a plan; `fingerprint` is None while it depends on stages that run first, and for
    one that is left out.
    """

    stage: Stage
    fingerprint: str | None
    done: Completion | None
    why: str
    left_out: bool = False

    @property
    def runs(self) -> bool:
        return self.done is None and not self.left_out


@dataclass(slots=True)
class Run:
    """A run folder and the config that it is brought up to date with.

    `left_out`: the stages that may not start, and why; the others go on as if they were off.
    """

    config: RunConfig
    until: str | None = None
    begin: str | None = None
    observer: Observer = field(default_factory=Observer)
    round: int = 1
    left_out: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        for name in (self.until, self.begin):
            if name is not None:
                check_stage(name)

    @property
    def folder(self) -> Path:
        return self.config.folder / f"round-{self.round}"

    def stages(self) -> list[Stage]:
        """The stages to bring up to date, in order."""
        stages = stages_of(self.config)
        names = [stage.name for stage in stages]
        for name in (self.until, self.begin):
            if name is not None and name not in names:
                raise ValueError(f"this run has no {name} stage: its config turns it off")
        if self.until and self.begin and names.index(self.begin) > names.index(self.until):
            raise ValueError(f"--from {self.begin} comes after --until {self.until}")
        return stages if self.until is None else stages[: names.index(self.until) + 1]

    def plan(self) -> list[Step]:
        """What would run, what would be kept, and why; nothing is written."""
        steps: list[Step] = []
        ready: dict[str, Completion] = {}
        again = False
        self.left_out = {}
        for stage in self.stages():
            again = again or stage.name == self.begin
            self._leave_out(stage, ready)
            if stage.name in self.left_out:
                why = self.left_out[stage.name]
                steps.append(Step(stage, None, None, why, left_out=True))
                continue
            if self._lacks_policies(stage):
                break
            missing = [need for need in self._needs(stage) if need not in ready]
            if missing:
                fit = "certify" in missing and needs_fitness(self.config, stage.name)
                proviso = ", if that says fit for RL" if fit else ""
                steps.append(Step(stage, None, None, f"after {missing[-1]}{proviso}"))
                continue
            fingerprint, done = self._attempt(stage, ready, again=again)
            if done is not None:
                ready[stage.name] = done
            why = "complete" if done else self._why(stage, ready, again=again)
            steps.append(Step(stage, fingerprint, done, why))
        return steps

    def execute(self) -> dict[str, Completion]:
        """Brings the run up to date; returns what each stage completed, without those that are
        `left_out`. Only one process may do so at a time.

        Raises UnfitRewardError where nothing is left to compare without them, and ValueError where
        several processes were started to share the work.
        """
        _check_alone()
        _limit_threads(self.config.threads)
        with owned(self.config.folder):
            ready: dict[str, Completion] = {}
            again = False
            self.left_out = {}
            for stage in self.stages():
                again = again or stage.name == self.begin
                self._leave_out(stage, ready)
                if stage.name in self.left_out:
                    self.observer.left_out(stage, self.left_out[stage.name])
                    self._summarise(ready)
                    continue
                if self._lacks_policies(stage):
                    raise UnfitRewardError(" ".join(self.left_out.values()))
                ready[stage.name] = self._bring_up(stage, ready, again=again)
                path = StageFolder(self.folder / stage.name).at(ready[stage.name].fingerprint)
                stage.show(self.config, path)
                self._summarise(ready)
            return ready

    def _summarise(self, ready: dict[str, Completion]) -> None:
        """Writes the summary: what is ready, and what later stages made of it before."""
        stages = [one for one in stages_of(self.config) if one.name not in self.left_out]
        write_summary(
            self.config.folder,
            self.folder,
            ready | still_in_use(self.config, self.folder, stages, ready),
            self.config.ledger,
            simulated=self.config.labelers == "simulated",
            left_out=self.left_out,
        )

    def _leave_out(self, stage: Stage, ready: dict[str, Completion]) -> None:
        """Notes why a stage may not start on what is ready."""
        made = ready.get("certify")
        certify = (
            None if made is None else StageFolder(self.folder / "certify").at(made.fingerprint)
        )
        why = refusals(self.config, certify).get(stage.name)
        if why is not None:
            self.left_out[stage.name] = why

    def _lacks_policies(self, stage: Stage) -> bool:
        """Whether a stage compares policies, and every way to train one is left out."""
        trained = {one.name for one in stages_of(self.config)} & set(TRAINED)
        return set(TRAINED) <= set(stage.needs) and trained <= self.left_out.keys()

    def _bring_up(self, stage: Stage, ready: dict[str, Completion], *, again: bool) -> Completion:
        folder = StageFolder(self.folder / stage.name)
        fingerprint, done = self._attempt(stage, ready, again=again)
        if done is not None:
            folder.point(fingerprint)
            self.observer.kept(stage, done)
            return done
        self.observer.started(stage, self._why(stage, ready, again=again))
        config = self.config
        with booked(
            config.ledger,
            config.folder,
            folder.at(fingerprint),
            simulated=config.labelers == "simulated",
            no_failure=(WaitingForPeopleError, UnfitRewardError),
        ) as booking:
            done = self._run(stage, folder, fingerprint, ready)
            booking.result = done.result
        return done

    def _attempt(
        self, stage: Stage, ready: dict[str, Completion], *, again: bool
    ) -> tuple[str, Completion | None]:
        """The folder name to use, and what is complete in it; where the stage is to be done again,
        the name after the last complete one.
        """
        folder = StageFolder(self.folder / stage.name)
        wanted = self._fingerprint(stage, ready)
        name, number = folder.newest(wanted)
        done = folder.completion(name)
        if done is not None and again:
            return f"{wanted}-{number + 1}", None
        return name, done

    def _run(
        self, stage: Stage, folder: StageFolder, fingerprint: str, ready: dict[str, Completion]
    ) -> Completion:
        path = folder.begin(fingerprint)
        inputs = self._inputs(stage, ready)
        asked: Json = {
            "stage": stage.name,
            "version": stage.version,
            "settings": stage.settings(self.config),
            "run": self.config.model_dump(mode="json"),
        }
        write_json(path / "config.json", asked)
        write_json(path / "inputs.json", self._input_rows(stage, inputs, ready))
        mirror = open_mirror(
            self.config.wandb,
            folder=path,
            run=self.config.name,
            stage=stage.name,
            fingerprint=fingerprint,
            config=asked["settings"],
        )
        log = MetricsLog(path, mirror)
        started = time.monotonic()
        try:
            result = stage.run(
                Work(
                    self.config,
                    path,
                    inputs,
                    log.append,
                    lambda now, total: self.observer.progressed(stage, now, total),
                    mirror.table,
                    mirror.alert,
                )
            )
        except BaseException as error:
            log.close()
            if isinstance(error, Exception):
                waits = isinstance(error, WaitingForPeopleError)
                mirror.alert(failure(stage.name, error, waits=waits))
            mirror.finish({}, exit_code=1)
            raise
        log.close()
        folder.drop_checkpoints(fingerprint)
        write_json(path / "environment.json", environment())
        _mirror_result(mirror, stage, path, inputs, result)
        done = folder.complete(
            fingerprint,
            seconds=time.monotonic() - started,
            finished_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            result=result,
        )
        self.observer.finished(stage, done)
        return done

    def _needs(self, stage: Stage) -> list[str]:
        names = {one.name for one in stages_of(self.config)} - self.left_out.keys()
        return [need for need in stage.needs if need in names]

    def _inputs(self, stage: Stage, ready: dict[str, Completion]) -> dict[str, Path]:
        return {
            need: StageFolder(self.folder / need).at(ready[need].fingerprint)
            for need in self._needs(stage)
        }

    def _identity(self, stage: Stage, ready: dict[str, Completion]) -> Json:
        return {
            "stage": stage.name,
            "version": stage.version,
            "settings": stage.settings(self.config),
            "inputs": {need: ready[need].digest for need in self._needs(stage)},
            "outside": stage.outside(self.config, self._inputs(stage, ready)),
        }

    def _fingerprint(self, stage: Stage, ready: dict[str, Completion]) -> str:
        return content_id("f", canonical(self._identity(stage, ready))).removeprefix("f-")[:12]

    def _input_rows(
        self, stage: Stage, inputs: dict[str, Path], ready: dict[str, Completion]
    ) -> Json:
        return {
            "stages": {
                need: {
                    "path": str(path.relative_to(self.config.folder)),
                    "sha256": ready[need].digest,
                }
                for need, path in inputs.items()
            },
            "outside": stage.outside(self.config, inputs),
        }

    def _why(self, stage: Stage, ready: dict[str, Completion], *, again: bool) -> str:
        folder = StageFolder(self.folder / stage.name)
        if again and folder.completion(self._fingerprint(stage, ready)) is not None:
            return f"asked for by --from {self.begin}"
        return why_again(folder, self._identity(stage, ready))


def _check_alone() -> None:
    """A launcher's other processes would wait for this one, or find the folder in use."""
    count = os.environ.get("WORLD_SIZE", "1")
    if "LOCAL_RANK" in os.environ and count != "1":
        raise ValueError(
            f"a run is one process, and {count} were started: leave out torchrun; a reward model, "
            "DPO or PPO is trained in several by a script of its own, as docs/guides/dpo.md shows"
        )


def _limit_threads(count: int | None) -> None:
    """CPU threads of torch, also where it is not imported yet."""
    if count is None:
        return
    os.environ["OMP_NUM_THREADS"] = str(count)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)


def _mirror_result(
    mirror: Mirror, stage: Stage, path: Path, inputs: dict[str, Path], result: Json
) -> None:
    for alert in alerts_of(stage.name, result):
        mirror.alert(alert)
    best = result.get("best")
    mirror.output(stage.name, stage.kind, path, uses=list(inputs), best=best, metadata=result)
    mirror.finish(result)
