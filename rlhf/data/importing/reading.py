"""A file in, our records out, and an account of every row."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import Protocol

from rlhf.data.identity import Json
from rlhf.data.importing import annotators, dialogues, preferences, ranked, trees
from rlhf.data.importing.judgement import Judgement
from rlhf.data.jsonl import numbered_jsonl, read_json
from rlhf.data.records import Prompt, Ranking, Response


class _Format(Protocol):
    """A module that reads one shape of rows; `UNIT` names what a judgement is called there."""

    UNIT: str

    def fits(self, row: Json) -> bool: ...
    def read(self, row: Json) -> Iterator[Judgement | str]: ...


# In the order in which they are tried: the more particular shape first.
_MODULES: dict[str, _Format] = {
    "trees": trees,
    "annotators": annotators,
    "dialogues": dialogues,
    "preferences": preferences,
    "ranked": ranked,
}
FORMATS = tuple(_MODULES)
ROWS_LOOKED_AT = 50
LINES_NAMED = 5
REPEATED = "says what an earlier row says"


@dataclass(frozen=True, slots=True)
class Imported:
    """What a file held. `rows_read` counts judgements (pairs, lists, groups of replies),
    and is `kept` plus the sum of `dropped`; a line of a tree file holds many.

    `left_out` counts replies without a rank and labelers without a verdict in what was kept.
    `items` are distinct prompts with their responses; `lines` are the first lines (or, in a
    `.json` file, rows) that were dropped, by reason.
    """

    format: str
    unit: str
    rows_read: int
    kept: int
    left_out: int
    items: tuple[tuple[Prompt, tuple[Response, ...]], ...]
    rankings: tuple[Ranking, ...]
    dropped: dict[str, int]
    lines: dict[str, tuple[int, ...]]

    @property
    def strict_pairs(self) -> int:
        """Pairs of responses that the rankings order."""
        return sum(
            len(better) * len(worse)
            for ranking in self.rankings
            for better, worse in combinations(ranking.groups, 2)
        )

    def summary(self) -> str:
        """What was read, kept and dropped, one fact a line."""
        labelers = len({ranking.labeler_id for ranking in self.rankings})
        prompts = len({prompt.id for prompt, _ in self.items})
        facts = [
            f"format: {self.format}",
            f"read: {self.rows_read:,} {self.unit}",
            f"kept: {self.kept:,} {self.unit}",
        ]
        facts += [
            f"dropped: {count:,} ({reason}; {_named_lines(self.lines[reason], count)})"
            for reason, count in sorted(self.dropped.items(), key=lambda part: (-part[1], part[0]))
        ]
        if self.left_out:
            facts.append(f"left out of these: {self.left_out:,} without a rank or verdict")
        facts += [
            f"items: {len(self.items):,} different sets of replies to {prompts:,} prompts",
            f"rankings: {len(self.rankings):,} by {labelers} labeler{'s' * (labelers != 1)}",
            f"strict pairs: {self.strict_pairs:,}",
        ]
        return "\n".join(facts)


def guess_format(path: str | Path) -> str:
    """The name of the format that most of the first rows have.

    Raises ValueError, with the known formats and the keys seen, where no format fits them.
    """
    first = [row for _, row in islice(rows_of(Path(path)), ROWS_LOOKED_AT)]
    if not first:
        raise ValueError(f"{path} holds no rows")
    fitting = {name: sum(map(module.fits, first)) for name, module in _MODULES.items()}
    best = max(fitting, key=lambda name: fitting[name])
    if 2 * fitting[best] <= len(first):
        keys = ", ".join(sorted({key for row in first for key in row}))
        raise ValueError(
            f"cannot tell the format of {path}: its rows have the keys {keys}. "
            f"Known formats: {', '.join(FORMATS)}"
        )
    return best


def read_file(path: str | Path, *, format: str | None = None) -> Imported:
    """Reads a `.json`, `.jsonl` or `.jsonl.gz` file of `format` (by default the guessed one).

    A row that cannot be used is dropped and counted by reason. Raises ValueError where the file
    cannot be read, the format is unknown, or more than half of the rows are dropped.
    """
    name = guess_format(path) if format is None else format
    if name not in _MODULES:
        raise ValueError(f"unknown format {name!r}; known formats: {', '.join(FORMATS)}")
    module = _MODULES[name]
    gathered = _Gathered()
    for number, row in rows_of(Path(path)):
        for outcome in module.read(row):
            gathered.add(number, outcome)
    made = gathered.imported(name, module.UNIT)
    if made.rows_read == 0:
        raise ValueError(f"{path} holds no {module.UNIT}")
    if 2 * made.kept < made.rows_read:
        reasons = "; ".join(
            f"{reason}: {count:,} ({_named_lines(made.lines[reason], count)})"
            for reason, count in made.dropped.items()
        )
        raise ValueError(
            f"{path}, read as {name}: {made.rows_read - made.kept:,} of {made.rows_read:,} "
            f"{module.UNIT} cannot be used ({reasons}). Correct the file, or name another format"
        )
    return made


class _Gathered:
    """Judgements as they come in, each item and each ranking once."""

    def __init__(self) -> None:
        self.items: dict[tuple[str, frozenset[str]], tuple[Prompt, tuple[Response, ...]]] = {}
        self.rankings: dict[tuple[str, str, tuple[tuple[str, ...], ...]], Ranking] = {}
        self.dropped: dict[str, list[int]] = defaultdict(list)
        self.kept = 0
        self.left_out = 0

    def add(self, number: int, outcome: Judgement | str) -> None:
        if isinstance(outcome, str):
            self.dropped[outcome].append(number)
            return
        new = {
            (ranking.prompt_id, ranking.labeler_id, ranking.groups): ranking
            for ranking in outcome.rankings
            if (ranking.prompt_id, ranking.labeler_id, ranking.groups) not in self.rankings
        }
        if not new:
            self.dropped[REPEATED].append(number)
            return
        self.kept += 1
        self.left_out += outcome.left_out
        self.rankings.update(new)
        shown = frozenset(response.id for response in outcome.responses)
        self.items.setdefault((outcome.prompt.id, shown), (outcome.prompt, outcome.responses))

    def imported(self, format_name: str, unit: str) -> Imported:
        return Imported(
            format=format_name,
            unit=unit,
            rows_read=self.kept + sum(map(len, self.dropped.values())),
            kept=self.kept,
            left_out=self.left_out,
            items=tuple(self.items.values()),
            rankings=tuple(self.rankings.values()),
            dropped={reason: len(numbers) for reason, numbers in self.dropped.items()},
            lines={
                reason: tuple(dict.fromkeys(numbers))[:LINES_NAMED]
                for reason, numbers in self.dropped.items()
            },
        )


def rows_of(path: Path) -> Iterator[tuple[int, Json]]:
    """The objects of a `.json`, `.jsonl` or `.jsonl.gz` file, numbered from 1 by line or row."""
    if not path.is_file():
        raise ValueError(f"no file at {path}")
    if path.suffix != ".json" or not _is_list(path):
        yield from numbered_jsonl(path)
        return
    rows = read_json(path)
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path}: expected a list of objects")
    yield from enumerate(rows, 1)


def _is_list(path: Path) -> bool:
    """Many `.json` files hold one object a line."""
    with path.open("rb") as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"[")


def _named_lines(numbers: tuple[int, ...], count: int) -> str:
    word = "line" if count == 1 else "lines"
    more = ", ..." if count > len(numbers) else ""
    return f"{word} {', '.join(map(str, numbers))}{more}"
