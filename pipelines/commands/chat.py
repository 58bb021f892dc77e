"""`rlhf chat`: talk to a trained policy in the terminal."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from pipelines.artifacts import model_of
from pipelines.commands.status import run_folder
from rlhf.data.identity import seed_from
from rlhf.data.jsonl import read_json, read_jsonl
from rlhf.data.privacy import scrub
from rlhf.data.records import Message
from rlhf.tracking.run_folder import StageFolder

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rlhf.models.generation import Sampling

POLICIES = ("ppo", "dpo", "rloo", "rejection", "sft")
HELP = "Empty line or /quit to leave, /new for a new conversation."


def chat_command(folder: Path, *, policy: str, compare: str | None) -> None:
    """Reads a line, answers it, until the input ends."""
    found = run_folder(folder)
    names = [_resolve(found, policy), *([compare] if compare else [])]
    folders = [_policy_folder(found, name) for name in names]
    from rlhf.models.silence import silence_libraries

    silence_libraries()
    speakers = [Speaker.load(name, path) for name, path in zip(names, folders, strict=True)]
    typer.echo(f"{' and '.join(names)} of {found}. {HELP}")
    for example in _examples(found):
        typer.echo(f"  for example: {example}")
    history: list[Message] = []
    turn = 0
    while (line := _ask()) not in {"", "/quit", "/exit"}:
        if line == "/new":
            history = []
            continue
        history.append(Message("user", line))
        answers = [speaker.answer(history, seed_from("chat", turn)) for speaker in speakers]
        for speaker, text in zip(speakers, answers, strict=True):
            typer.echo(f"{speaker.name:>5}: {text}")
        history.append(Message("assistant", answers[0]))
        turn += 1


@dataclass(frozen=True, slots=True)
class Speaker:
    """A policy that answers."""

    name: str
    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    sampling: "Sampling"
    max_tokens: int

    @classmethod
    def load(cls, name: str, folder: Path) -> "Speaker":
        from rlhf.models.generation import Sampling
        from rlhf.models.loading import device, load_policy, load_tokenizer

        config = read_json(folder / "config.json")["run"]
        how = config["sample"]
        sampling = Sampling(how["max_new_tokens"], how["temperature"], how["top_p"])
        model = load_policy(model_of(folder), config["model"]["dtype"])
        model.to(device())  # type: ignore[arg-type]
        return cls(
            name, model, load_tokenizer(model_of(folder)), sampling, config["model"]["max_tokens"]
        )

    def answer(self, history: list[Message], seed: int) -> str:
        """The policy's next turn."""
        from rlhf.models.conversation import decode, prompt_within
        from rlhf.models.generation import sample
        from rlhf.models.loading import eos_token_id, pad_token_id

        room = self.max_tokens - self.sampling.max_new_tokens
        asked, _ = prompt_within(self.tokenizer, history, room)
        (said,) = sample(
            self.model,
            [asked],
            [seed],
            self.sampling,
            eos_token_id=eos_token_id(self.tokenizer),
            pad_token_id=pad_token_id(self.tokenizer),
        )
        return decode(self.tokenizer, said.ids)


def _resolve(found: Path, policy: str) -> str:
    """The policy's name; `best` is what the evaluation chose, or the last one trained."""
    if policy != "best":
        return policy
    summary = found / "summary.json"
    best = read_json(summary).get("best") if summary.exists() else None
    trained = [name for name in POLICIES if StageFolder(_round(found) / name).current()]
    if best is None and not trained:
        raise ValueError(f"{found} has no trained policy yet: `rlhf run CONFIG` makes one")
    return str(best or trained[0])


def _policy_folder(found: Path, name: str) -> Path:
    if name not in POLICIES:
        raise ValueError(f"no policy named {name!r}: choose from {', '.join(POLICIES)}")
    folder = StageFolder(_round(found) / name).current()
    if folder is None:
        raise ValueError(f"{found} has no {name} policy: `rlhf run CONFIG --until {name}` makes it")
    return folder


def _round(found: Path) -> Path:
    return max(found.glob("round-*"), key=lambda path: int(path.name.split("-")[1]))


def _examples(found: Path) -> list[str]:
    """Three prompts of the test split, to show what the policy knows about; without personal
    data.
    """
    folder = StageFolder(_round(found) / "prompts").current()
    if folder is None:
        return []
    rows = (row for row in read_jsonl(folder / "prompts.jsonl") if row["split"] == "test")
    return [scrub(row["messages"][-1]["content"]) for row, _ in zip(rows, range(3), strict=False)]


def _ask() -> str:
    """The next line, or an empty one where the input has ended."""
    if sys.stdin.isatty():
        sys.stdout.write("> ")
        sys.stdout.flush()
    return sys.stdin.readline().strip()
