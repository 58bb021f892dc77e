"""The W&B mirror of a stage: what the run folder says, shown in W&B, and nothing that it lacks.

Whatever W&B does (no account, outage, full disk, a service that dies), the stage goes on: one
warning, and the run folder keeps everything. Texts are scrubbed before they are handed over. The
import of `wandb` waits for the first mirror that is opened.
"""

import logging
import math
import numbers
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from rlhf.data.identity import Json, content_id
from rlhf.data.jsonl import read_jsonl, write_jsonl
from rlhf.data.privacy import scrub
from rlhf.tracking.account import logged_in, start_wandb, stop_wandb
from rlhf.tracking.outputs import as_artifact, plain_name, record_output, scrubbed, upstream

INIT_SECONDS = 8.0
FINISH_SECONDS = 60.0
FINISH_WITH_MODELS_SECONDS = 3600.0
EVERY_STEP = "_every_step"

log = logging.getLogger(__name__)
# Servers that did not answer: later stages of this process go offline without waiting again.
_unreachable: set[str] = set()


class WandbSettings(BaseModel, extra="forbid"):
    """How a run is mirrored. `auto` is online where an account is set up and WANDB_MODE says
    nothing else; the environment's `offline` and `disabled` win over `mode`.
    """

    enabled: bool = True
    project: str = "rlhf"
    entity: str | None = None
    mode: Literal["auto", "online", "offline"] = "auto"
    upload_models: bool = False


class Mirror:
    """One stage in W&B. Every method may be called at any time and never raises for W&B's sake."""

    def __init__(self, settings: WandbSettings, folder: Path, stage: str) -> None:
        self.settings = settings
        self.folder = folder
        self.stage = stage
        self.run: Any = None
        self._step = -1
        self._warned = False

    def log(self, numbers: Json, step: int | None = None) -> None:
        """Adds figures at a step; without one, at the step after the last."""
        self._safely("figures", lambda: self._log(_figures(numbers), step))

    def table(self, name: str, rows: Sequence[Json], step: int | None = None) -> None:
        """Adds a table at a step. Earlier ones stay: each in the history under `name`, and all of
        them together, with their step, in `<name>_every_step` when the stage ends.
        """
        self._safely(f"table {name!r}", lambda: self._table(name, rows, step))

    def output(
        self, name: str, kind: str, folder: Path, *, uses: Sequence[str] = (), metadata: Json
    ) -> None:
        """Records what the stage made as an artifact, and which artifacts it was made from."""
        self._safely(f"output {name!r}", lambda: self._output(name, kind, folder, uses, metadata))

    def finish(self, summary: Json, exit_code: int = 0) -> None:
        """Ends the mirror; what follows is not mirrored."""
        self._safely("tables", self._log_every_step)
        self._safely("summary", lambda: self.run.summary.update(scrubbed(summary)))
        self._safely("end", lambda: _end(self.run, exit_code))
        self.run = None

    def _log(self, values: Json, step: int | None) -> None:
        step = self._step + 1 if step is None else step
        if step < self._step:
            raise ValueError(f"step {step} came after step {self._step}, and W&B cannot go back")
        self._step = step
        self.run.log(values, step=step)

    def _table(self, name: str, rows: Sequence[Json], step: int | None) -> None:
        at = self._step + 1 if step is None else step
        cells = [{"step": at, **{key: _cell(value) for key, value in r.items()}} for r in rows]
        kept = self._kept(name)
        before = [row for row in read_jsonl(kept) if row["step"] != at] if kept.exists() else []
        write_jsonl(kept, [*before, *cells])
        self._log_table(plain_name(name), cells, at)

    def _log_table(self, key: str, cells: Sequence[Json], step: int) -> None:
        import wandb

        columns = list(dict.fromkeys(column for row in cells for column in row))
        data = [[row.get(column) for column in columns] for row in cells]
        with _staging_in(self.folder):
            table = wandb.Table(columns=columns or ["step"], data=data, allow_mixed_types=True)
            self._log({key: table}, step)

    def _log_every_step(self) -> None:
        for kept in sorted(self._kept("").parent.glob("*.jsonl")):
            rows = sorted(read_jsonl(kept), key=lambda row: int(row["step"]))
            self._log_table(kept.stem + EVERY_STEP, rows, self._step + 1)

    def _kept(self, name: str) -> Path:
        return self.folder / "wandb" / "tables" / f"{plain_name(name)}.jsonl"

    def _output(
        self, name: str, kind: str, folder: Path, uses: Sequence[str], metadata: Json
    ) -> None:
        listed = record_output(
            self.folder,
            name=name,
            kind=kind,
            folder=folder,
            uses=uses,
            metadata=metadata,
            upload_models=self.settings.upload_models,
        )
        for used in uses:
            source = upstream(self.folder.resolve().parents[2], used)
            if source is not None:
                # `Run.use_artifact` refuses offline and waits for the server online. This is
                # what it does with an artifact that is not uploaded yet, without the wait.
                self.run._log_artifact(
                    as_artifact(source), aliases=[source.parents[2].name], use_after_commit=True
                )
        self.run.log_artifact(as_artifact(listed), aliases=["latest", self.folder.name[:128]])

    def _safely(self, what: str, act: Callable[[], object]) -> None:
        if self.run is None:
            return
        try:
            act()
        except Exception as error:  # noqa: BLE001 - no fault of a mirror may end a stage
            self._warn(what, error)

    def _warn(self, what: str, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "The W&B mirror of stage %s is incomplete from its %s on (%s); the run folder has "
                "everything.",
                self.stage,
                what,
                _first_line(error),
            )


def open_mirror(
    settings: WandbSettings,
    *,
    folder: Path,
    run: str,
    stage: str,
    fingerprint: str,
    config: Json,
) -> Mirror:
    """The mirror of the stage that writes to `folder` (`<run>/round-<r>/<stage>/<fingerprint>`).

    A stage that is started again continues the W&B run that it had: the id is the hash of run,
    round, stage and fingerprint. A server that does not answer within seconds is done without: the
    stage is logged offline.
    """
    mirror = Mirror(settings, folder.absolute(), stage)
    if not settings.enabled or os.environ.get("WANDB_MODE") == "disabled":
        return mirror
    around = folder.absolute().parent.parent
    identity = {
        "id": content_id("stage", [run, around.name, stage, fingerprint]),
        "group": run,
        "job_type": stage,
        "name": stage,
        "project": settings.project,
        "entity": settings.entity,
        "config": scrubbed(config | {"run_folder": f"{run}/{around.name}/{stage}/{fingerprint}"}),
        "dir": str(mirror.folder),
    }
    try:
        mirror.run = _start(settings, identity)
    except Exception as error:  # noqa: BLE001 - no fault of a mirror may end a stage
        mirror._warn("start", error)
    return mirror


def _start(settings: WandbSettings, identity: Json) -> Any:
    base_url = start_wandb()
    if base_url not in _unreachable and _online(settings):
        before = _attempts(identity)
        try:
            return _init(settings, identity, "online")
        except Exception as error:  # noqa: BLE001 - the server may be at fault in any way
            _unreachable.add(base_url)
            stop_wandb()
            start_wandb()
            # Nothing was logged in it yet; left there, it would look like a run to upload.
            for attempt in _attempts(identity) - before:
                shutil.rmtree(attempt)
            log.warning(
                "W&B at %s could not be reached (%s): this run is logged offline.",
                base_url,
                _first_line(error),
            )
    return _init(settings, identity, "offline")


def _online(settings: WandbSettings) -> bool:
    told = os.environ.get("WANDB_MODE", "")
    if settings.mode == "offline" or told in {"offline", "dryrun"}:
        return False
    if logged_in():
        return True
    if "online" in {settings.mode, told}:
        log.warning("W&B has no account on this machine: log in with `wandb login` first.")
    return False


def _init(settings: WandbSettings, identity: Json, mode: Literal["online", "offline"]) -> Any:
    import wandb

    quiet = {
        "silent": True,
        "console": "off",
        "symlink": False,
        "use_dot_wandb": False,
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "disable_job_creation": True,
        "label_disable": True,
        "x_disable_meta": True,
        "x_disable_stats": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
        # Seconds of figures that a killed stage may lose of its mirror.
        "x_transaction_log_flush_interval": 1.0,
        "init_timeout": INIT_SECONDS,
        "finish_timeout": FINISH_WITH_MODELS_SECONDS if settings.upload_models else FINISH_SECONDS,
        "finish_timeout_raises": True,
    }
    # Settings that begin with x_ may go in a later W&B; what is gone need not be switched off.
    known = {key: value for key, value in quiet.items() if key in wandb.Settings.model_fields}
    return wandb.init(
        **identity,
        mode=mode,
        resume="allow",
        reinit="create_new",
        settings=wandb.Settings(**known),
    )


def _end(run: Any, exit_code: int) -> None:
    run.finish(exit_code=exit_code)
    if not run.settings._offline:
        # W&B's own marker for "all of this is on the server": `sync` passes it over.
        Path(f"{run.settings.sync_file}.synced").touch()


def _attempts(identity: Json) -> set[Path]:
    return set(Path(identity["dir"], "wandb").glob(f"run-*-{identity['id']}*"))


@contextmanager
def _staging_in(folder: Path) -> Iterator[None]:
    """Files that W&B stages for a later upload lie in the stage's folder, not in the home folder,
    where a run folder that is moved or cleaned would lose them.
    """
    before = os.environ.get("WANDB_DATA_DIR")
    os.environ["WANDB_DATA_DIR"] = str(folder / "wandb" / "staging")
    try:
        yield
    finally:
        if before is None:
            del os.environ["WANDB_DATA_DIR"]
        else:
            os.environ["WANDB_DATA_DIR"] = before


def _figures(values: Json) -> Json:
    """Plain ints and floats. Raises ValueError naming what is not a number."""
    odd = {key: value for key, value in values.items() if not isinstance(value, numbers.Real)}
    if odd:
        raise ValueError(f"figures must be numbers, got {odd!r}")
    return {
        key: int(value) if isinstance(value, numbers.Integral) else float(value)
        for key, value in values.items()
    }


def _cell(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return scrub(value if isinstance(value, str) else str(value))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
