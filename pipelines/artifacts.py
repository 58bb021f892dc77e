"""Reading what stages wrote, as records."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json, read_jsonl
from rlhf.data.policies import TRAINED
from rlhf.data.records import Message, Prompt, Ranking, Response, Split

CERTIFICATE = "certificate.json"
WRITTEN = "written.json"  # a snapshot of the demonstrations that people wrote
Contest = tuple[Response, Response]  # a trained policy's answer, and SFT's to the same prompt


def model_of(folder: Path) -> Path:
    """Where a stage that trains keeps its model: a plain transformers folder."""
    return folder / "model"


def read_certificate_of(folder: Path) -> Json:
    """The certificate that the certify stage wrote, as plain values."""
    return dict(read_json(folder / CERTIFICATE))


def read_prompts_of(folder: Path) -> list[Prompt]:
    """The prompts that the prompts stage wrote."""
    return [Prompt.from_json(row) for row in read_jsonl(folder / "prompts.jsonl")]


def read_demonstrated_of(prompts: Path, sft: Path) -> list[Prompt]:
    """The prompts of the train split with the demonstrations that the SFT stage trained on: where
    people wrote some, theirs.
    """
    written = sft / WRITTEN
    own: dict[str, str] = dict(read_json(written)) if written.exists() else {}
    return [
        replace(prompt, demonstration=own.get(prompt.id, prompt.demonstration))
        for prompt in read_prompts_of(prompts)
        if prompt.split == "train"
    ]


def read_responses_of(folder: Path) -> dict[str, list[Response]]:
    """Prompt id -> the responses that the sample stage wrote for it."""
    found: dict[str, list[Response]] = {}
    for row in read_jsonl(folder / "responses.jsonl"):
        response = Response.from_json(row)
        found.setdefault(response.prompt_id, []).append(response)
    return found


@dataclass(frozen=True, slots=True)
class RankedRow:
    """All that the preferences stage wrote about one prompt."""

    prompt: Prompt
    responses: tuple[Response, ...]
    rankings: tuple[Ranking, ...]


def read_ranked_of(folder: Path, split: Split | None = None) -> Iterator[RankedRow]:
    """The ranked prompts that the preferences stage wrote, of one split or of all."""
    for row in read_jsonl(folder / "ranked.jsonl"):
        prompt = Prompt.from_json(row["prompt"])
        if split is None or prompt.split == split:
            yield RankedRow(
                prompt,
                tuple(Response.from_json(one) for one in row["responses"]),
                tuple(Ranking.from_json(one) for one in row["rankings"]),
            )


def read_contests_of(folder: Path) -> tuple[dict[str, Prompt], dict[str, list[Contest]]]:
    """What the evaluate stage wrote: prompts by id, and for each trained policy its answers beside
    those of SFT.
    """
    prompts: dict[str, Prompt] = {}
    contests: dict[str, list[Contest]] = {}
    for row in read_jsonl(folder / "answers.jsonl"):
        prompt = Prompt.of(tuple(Message.from_json(one) for one in row["prompt"]))
        prompts[prompt.id] = prompt
        answers = {
            name: Response.of(prompt.id, one["text"], model=name, finished=one["finished"])
            for name, one in row["answers"].items()
        }
        for name in TRAINED:
            if name in answers:
                contests.setdefault(name, []).append((answers[name], answers["reference"]))
    return prompts, contests
