"""The W&B mirror of a stage: what the run folder says, shown in W&B, and nothing that it lacks.

Whatever W&B does (no account, outage, full disk, a service that dies), the stage goes on: one
warning, and the run folder keeps everything. Texts are scrubbed before they are handed over. The
import of `wandb` waits for the first mirror that is opened.
"""

import logging
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from numbers import Integral, Real
from pathlib import Path
from typing import Any

from rlhf.data.identity import Json, content_id
from rlhf.data.jsonl import read_jsonl, write_jsonl
from rlhf.data.privacy import scrub
from rlhf.tracking.alerts import MAX_TITLE, Alert
from rlhf.tracking.courier import Courier
from rlhf.tracking.outputs import as_artifact, plain_name, record_output, scrubbed, upstream
from rlhf.tracking.wandb_run import (
    WandbSettings,
    abandon_service,
    end_run,
    finish_seconds,
    first_line,
    publish,
    start_run,
)

__all__ = ["Mirror", "WandbSettings", "mirrored_name", "open_mirror"]

EVERY_STEP = "_every_step"
BEST = "best"
# Of two alerts with one title W&B drops the second that comes within this; what was said before is
# known here.
ALERT_PAUSE = timedelta(milliseconds=1)

log = logging.getLogger(__name__)


class Mirror:
    """One stage in W&B. Every method may be called at any time, returns at once (`finish` apart)
    and never raises for W&B's sake.
    """

    def __init__(self, settings: WandbSettings, folder: Path, stage: str, run: Any = None) -> None:
        self.settings = settings
        self.folder = folder
        self.stage = stage
        self.run = run
        self._step = -1
        self._warned = False
        # W&B's service takes what it is given through a socket, and where it hangs that is full
        # after some hundred steps: nothing but this thread may wait for it.
        self._courier = Courier(self._warn) if run is not None else None

    def log(self, numbers: Json, step: int | None = None) -> None:
        """Adds figures at a step; without one, at the step after the last. None is no figure."""
        given = dict(numbers)
        self._hand_over("figures", lambda: self._figures(given, step))

    def table(self, name: str, rows: Sequence[Json], step: int | None = None) -> None:
        """Adds a table at a step. Earlier ones stay: each in the history under `name`, and all of
        them together, with their step, in `<name>_every_step` when the stage ends.
        """
        given = [dict(row) for row in rows]
        self._hand_over(f"table {name!r}", lambda: self._table(name, given, step))

    def alert(self, alert: Alert) -> None:
        """Tells those who watch the project, once: the same with other numbers is the same, also
        where the stage was started again.
        """
        self._hand_over(f"alert {alert.title!r}", lambda: self._alert(alert))

    def output(
        self,
        name: str,
        kind: str,
        folder: Path,
        *,
        uses: Sequence[str] = (),
        best: str | None = None,
        metadata: Json,
    ) -> None:
        """Records what the stage made as an artifact, and which artifacts it was made from; `best`
        is another stage's artifact that this one found to be the best of its run.
        """
        self._hand_over(
            f"output {name!r}", lambda: self._output(name, kind, folder, uses, best, metadata)
        )

    def finish(self, summary: Json, exit_code: int = 0) -> None:
        """Ends the mirror, once W&B has all of it; what follows is not mirrored. A service that
        hangs is waited for as long as a server that does not answer, and ended.
        """
        if self._courier is None:
            return
        self._hand_over("tables", self._log_every_step)
        self._hand_over("summary", lambda: self.run.summary.update(scrubbed(summary)))
        courier, self._courier = self._courier, None
        seconds = finish_seconds(self.settings)
        try:
            if courier.wait(seconds):
                end_run(self.settings, self.run, exit_code)
            else:  # said first: what it still had to do fails now
                self._warn("end", TimeoutError(f"W&B's service took nothing for {seconds:g} s"))
                abandon_service()
        except Exception as error:  # noqa: BLE001 - no fault of a mirror may end a stage
            self._warn("end", error)

    def _figures(self, numbers: Json, step: int | None) -> None:
        given = {key: value for key, value in numbers.items() if value is not None}
        figures = {key: value for key, value in given.items() if isinstance(value, Real)}
        self._log({key: _plain(value) for key, value in figures.items()}, step)
        if len(figures) < len(given):
            odd = {key: value for key, value in given.items() if key not in figures}
            raise ValueError(f"figures must be numbers, got {odd!r}")

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

    def _alert(self, alert: Alert) -> None:
        kept = self.folder / "wandb" / "alerts.jsonl"
        title, text = scrub(alert.title), scrub(alert.text)
        given = list(read_jsonl(kept)) if kept.exists() else []
        if any(_same_but_for_numbers(row, title, text) for row in given):
            return
        write_jsonl(kept, [*given, {"title": title, "text": text, "level": alert.level}])
        self.run.alert(title[:MAX_TITLE], text, alert.level, ALERT_PAUSE)

    def _output(
        self,
        name: str,
        kind: str,
        folder: Path,
        uses: Sequence[str],
        best: str | None,
        metadata: Json,
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
        for used in dict.fromkeys([*uses, *([best] if best else [])]):
            source = upstream(self.folder.resolve().parents[1], used)
            if source is not None:
                aliases = [_version(source.parents[2]), *([BEST] if used == best else [])]
                publish(self.run, as_artifact(source), aliases=aliases, uses=True)
        aliases = ["latest", self.folder.parents[1].name, _version(self.folder)]
        publish(self.run, as_artifact(listed), aliases=aliases)

    def _hand_over(self, what: str, act: Callable[[], object]) -> None:
        if self._courier is not None:
            self._courier.hand(what, act)

    def _warn(self, what: str, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "The W&B mirror of stage %s is incomplete from its %s on (%s); the run folder has "
                "everything.",
                self.stage,
                what,
                first_line(error),
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
    silent = Mirror(settings, folder.absolute(), stage)
    if not settings.enabled or os.environ.get("WANDB_MODE") == "disabled":
        return silent
    around = folder.absolute().parent.parent
    identity = {
        "id": content_id("stage", [run, around.name, stage, fingerprint]),
        "group": run,
        "job_type": stage,
        "name": stage,
        "project": settings.project,
        "entity": settings.entity,
        "config": scrubbed(config | {"run_folder": f"{run}/{around.name}/{stage}/{fingerprint}"}),
        "dir": str(silent.folder),
    }
    try:
        return Mirror(settings, silent.folder, stage, start_run(settings, identity))
    except Exception as error:  # noqa: BLE001 - no fault of a mirror may end a stage
        silent._warn("start", error)
    return silent


def mirrored_name(stage: str, name: str) -> str:
    """What W&B calls a number: `loss` of four stages would share one plot there, `sft/loss` has its
    own. Names that have a group already (`objective/kl`) keep it.
    """
    return name if "/" in name else f"{stage}/{name}"


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


def _version(stage_folder: Path) -> str:
    """The alias that is this output's alone: the fingerprint of the stage that made it."""
    return stage_folder.name[:128]


def _same_but_for_numbers(given: Json, title: str, text: str) -> bool:
    def words(said: str) -> str:
        return re.sub(r"[-+]?\d[\d.,]*", "#", said)

    return given["title"] == title and words(given["text"]) == words(text)


def _plain(value: Real) -> int | float:
    """NumPy's numbers among others, as Python's."""
    return int(value) if isinstance(value, Integral) else float(value)


def _cell(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return scrub(value if isinstance(value, str) else str(value))
