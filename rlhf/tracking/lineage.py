"""What was made from what: the completed stages of a run, with what each of them read.

Every stage's `inputs.json` names the folders it read and the hash of what was in them, and every
marker the hash of what the stage wrote. Those are the edges and the nodes; nothing else is asked,
so that it works from a copy of the run folder. Free of torch.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rlhf.data.identity import Json, file_sha256, tree_sha256
from rlhf.data.jsonl import read_json
from rlhf.tracking.outputs import WEIGHTS
from rlhf.tracking.run_folder import (
    CURRENT,
    MARKER,
    Completion,
    StageFolder,
    outputs,
    read_completion,
)

REPORT = "report.html"
SUMMARY = "summary.json"


@dataclass(frozen=True, slots=True)
class Made:
    """One completed stage: its place in the run (`round-1/dpo/<fingerprint>`), and what it read,
    as place -> hash. `outside` is what it read beyond the run folder, `config` what it was asked.
    """

    place: str
    folder: Path
    done: Completion
    reads: dict[str, str]
    outside: Json
    config: Json

    @property
    def stage(self) -> str:
        return self.folder.parent.name

    @property
    def kind(self) -> str:
        """model, report or dataset: by what lies in its folder."""
        if (self.folder / "model").is_dir():
            return "model"
        return "report" if (self.folder / REPORT).exists() else "dataset"

    @property
    def in_use(self) -> bool:
        current = StageFolder(self.folder.parent).current()
        return current is not None and current.name == self.folder.name

    @property
    def run_config(self) -> Json:
        """The config of the run that it was made in; {} where it was not kept."""
        return _object(self.config.get("run"))


@dataclass(frozen=True, slots=True)
class RunMade:
    """All completed stages of one run by place, oldest first, and what could not be read."""

    folder: Path
    made: dict[str, Made]
    faults: tuple[str, ...]

    def before(self, places: Iterable[str]) -> dict[str, Made]:
        """Those that these were made from, and these themselves."""
        return self._closure(places, {place: one.reads.keys() for place, one in self.made.items()})

    def after(self, places: Iterable[str]) -> dict[str, Made]:
        """Those that were made from these, and these themselves."""
        users: dict[str, list[str]] = {}
        for place, one in self.made.items():
            for read in one.reads:
                users.setdefault(read, []).append(place)
        return self._closure(places, users)

    def of_stage(self, stage: str) -> list[Made]:
        """Every completed attempt at a stage, in every round."""
        return [one for one in self.made.values() if one.stage == stage]

    def _closure(
        self, places: Iterable[str], edges: Mapping[str, Iterable[str]]
    ) -> dict[str, Made]:
        found: set[str] = set()
        waiting = [place for place in places if place in self.made]
        while waiting:
            place = waiting.pop()
            if place not in found:
                found.add(place)
                waiting += [other for other in edges.get(place, ()) if other in self.made]
        return {place: one for place, one in self.made.items() if place in found}


def read_made(run_folder: Path) -> RunMade:
    """The completed stages of a run. What cannot be read is left out and named in `faults`.

    Raises ValueError where there is no run.
    """
    if not any(run_folder.glob("round-*")):
        raise ValueError(f"no run in {run_folder}: expected a folder with round-1 in it")
    found: list[Made] = []
    faults: list[str] = []
    for marker in sorted(run_folder.glob(f"round-*/*/*/{MARKER}")):
        if marker.parent.name == CURRENT or marker.parent.is_symlink():
            continue
        place = marker.parent.relative_to(run_folder).as_posix()
        try:
            made = _made(place, marker.parent)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            reason = " ".join(str(error).replace(str(run_folder), "").split())
            faults.append(f"{place} cannot be read ({reason})")
            continue
        found.append(made)
        lost = [read for read in made.reads if not (run_folder / read / MARKER).exists()]
        faults += [f"{place} was made from {read}, which is not there any more" for read in lost]
    found.sort(key=lambda made: made.done.finished_at)
    return RunMade(run_folder, {made.place: made for made in found}, tuple(faults))


def _made(place: str, folder: Path) -> Made:
    done = read_completion(folder)
    assert done is not None, folder
    inputs = _object(_json(folder / "inputs.json"))
    reads = {row["path"]: row["sha256"] for row in _object(inputs.get("stages")).values()}
    config = _object(_json(folder / "config.json"))
    return Made(place, folder, done, reads, _object(inputs.get("outside")), config)


def _json(path: Path) -> object:
    return read_json(path) if path.exists() else {}


def _object(value: object) -> Json:
    return value if isinstance(value, dict) else {}


def run_of(path: Path) -> Path | None:
    """The folder of the run that a path lies in; None where it lies in none."""
    whole = path.absolute()
    return next((one for one in (whole, *whole.parents) if any(one.glob("round-*"))), None)


def copies_of(path: Path, runs: Iterable[Path]) -> list[Path]:
    """The files in run folders (or in folders of runs) that hold the same bytes as a file, or as
    the weights in a model's folder.
    """
    if path.is_dir():
        path = next((one for one in sorted(path.iterdir()) if one.suffix in WEIGHTS), path)
    if not path.is_file():
        return []
    size, digest = path.stat().st_size, file_sha256(path)
    stages = {
        stage.resolve()
        for place in runs
        for pattern in ("round-*/*/*", "*/round-*/*/*")
        for stage in place.glob(pattern)
        if stage.is_dir()
    }
    return [
        one
        for stage in sorted(stages)
        for one in sorted(stage.rglob(f"*{path.suffix}"))
        if one.is_file() and one.stat().st_size == size and file_sha256(one) == digest
    ]


def places_of(run: RunMade, path: Path) -> list[str]:
    """Which stages made what is at `path`: a file or folder that a stage wrote, a stage's folder
    (that in use), or the run's report (every report stage that wrote these bytes, else all that is
    in use).

    Raises ValueError where no completed stage made it.
    """
    whole, root = path.resolve(), run.folder.resolve()
    if not whole.is_relative_to(root):
        raise ValueError(f"{path} is a link out of {run.folder}: name the file that it points to")
    inside = whole.relative_to(root).parts
    if inside in {(REPORT,), (SUMMARY,)}:
        return _of_top_file(run, path)
    if len(inside) < 2:
        raise ValueError(
            f"{path} is a run and not what one stage made: name a weight file, a model folder, a "
            "stage or a report in it, or ask with --ranking or --labeler"
        )
    folder = run.folder.joinpath(*inside[:3])
    if len(inside) == 2:
        current = StageFolder(folder).current()
        folder = folder if current is None else current
    place = "/".join((*inside[:2], folder.name))
    if place not in run.made:
        raise ValueError(f"{path} was made by no completed stage of {run.folder}: nothing is known")
    return [place]


def _of_top_file(run: RunMade, path: Path) -> list[str]:
    if path.name == REPORT:
        digest = file_sha256(path)
        pages = [made.folder / REPORT for made in run.of_stage("report")]
        same = [page for page in pages if page.exists() and file_sha256(page) == digest]
        if same:
            return [page.parent.relative_to(run.folder).as_posix() for page in same]
    return [place for place, made in run.made.items() if made.in_use and made.stage != "report"]


def altered(run: RunMade, made: Made) -> list[str]:
    """What is not as its marker, or the marker of what it was made from, says; in sentences."""
    said = []
    wanted = made.done.digest
    if made.done.redacted is not None:
        wanted = made.done.redacted.get("digest", "")
        if not made.done.redacted.get("finished"):
            said.append(f"{made.place} is half redacted: give `rlhf withdraw` again")
    if wanted and tree_sha256(made.folder, outputs(made.folder)) != wanted:
        said.append(f"{made.place} is not what the stage wrote: its files hash to something else")
    for place, digest in made.reads.items():
        source = run.made.get(place)
        if source is not None and source.done.digest != digest:
            said.append(f"{made.place} was made from another {place} than is there now")
    return said
