"""Responses to rank: K different ones for each prompt, sampled from the SFT policy."""

from collections.abc import Mapping
from pathlib import Path

from pipelines import imported
from pipelines.artifacts import model_of, read_prompts_of
from pipelines.config import RunConfig
from pipelines.sections.material import SampleConfig
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json, seed_from
from rlhf.data.jsonl import write_jsonl
from rlhf.data.records import SPLITS, Prompt, Response

ATTEMPTS = 4


def settings(config: RunConfig) -> Json:
    chosen = config.sample.model_dump(exclude={"batch_size"})
    if config.labelers == "imported":
        return {"campaign": [config.label.store, config.label.campaign]}
    return {"sample": chosen, "max_tokens": config.model.max_tokens, "seed": config.seed}


def outside(config: RunConfig, inputs: dict[str, Path]) -> Json:  # noqa: ARG001
    return imported.state(config)


def run(work: Work) -> Json:
    """Writes `responses.jsonl`. A response that says what another one says is drawn again,
    `ATTEMPTS` times in all; a prompt that then has fewer than two different ones is dropped, and
    counted.
    """
    if work.config.labelers == "imported":
        return _adopt(work)
    from rlhf.models.conversation import prompts_within
    from rlhf.models.loading import device, load_policy, load_tokenizer

    settings = work.config.sample
    tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
    model = load_policy(model_of(work.inputs["sft"]), work.config.model.dtype).to(device())  # type: ignore[arg-type]
    prompts = choose(read_prompts_of(work.inputs["prompts"]), settings.num_prompts)
    room = work.config.model.max_tokens - settings.max_new_tokens
    fitting, cut = prompts_within(tokenizer, (one.messages for one in prompts), room)
    asked = {prompt.id: ids for prompt, ids in zip(prompts, fitting, strict=True)}
    found: dict[str, dict[str, Response]] = {prompt.id: {} for prompt in prompts}
    replaced = 0
    for attempt in range(ATTEMPTS):
        wanted = [
            (prompt, number)
            for prompt in prompts
            for number in range(settings.num_responses - len(found[prompt.id]))
        ]
        if not wanted:
            break
        replaced += len(wanted) if attempt else 0
        drawn = _draw(work, model, tokenizer, asked, wanted, attempt)
        for response in drawn:
            found[response.prompt_id].setdefault(response.text, response)
    kept = [row for row in found.values() if len(row) >= 2]
    write_jsonl(
        work.folder / "responses.jsonl", (one.to_json() for row in kept for one in row.values())
    )
    flat = [one for row in kept for one in row.values()]
    return {
        "prompts": len(kept),
        "responses": len(flat),
        "replaced": replaced,
        "prompts_dropped": len(found) - len(kept),
        "prompts_cut": cut,
        "prompts_short": sum(len(row) < settings.num_responses for row in kept),
        "finished_share": round(sum(one.finished for one in flat) / max(1, len(flat)), 4),
    }


def _adopt(work: Work) -> Json:
    """The responses that were ranked already, to the prompts of this run."""
    known = imported.responses(work.config)
    rows = [known[p.id] for p in read_prompts_of(work.inputs["prompts"]) if p.id in known]
    count = write_jsonl(
        work.folder / "responses.jsonl", (one.to_json() for row in rows for one in row)
    )
    return {"prompts": len(rows), "responses": count, "imported": True}


def choose(prompts: list[Prompt], count: int) -> list[Prompt]:
    """`count` prompts, each split with the share that it has of all; the first by id, so that a
    larger count only adds.
    """
    chosen: list[Prompt] = []
    for split in SPLITS:
        members = sorted((p for p in prompts if p.split == split), key=lambda p: p.id)
        chosen += members[: round(count * len(members) / len(prompts))]
    return chosen


def _draw(
    work: Work,
    model: object,
    tokenizer: object,
    asked: Mapping[str, tuple[int, ...]],
    wanted: list[tuple[Prompt, int]],
    attempt: int,
) -> list[Response]:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from rlhf.models.conversation import decode
    from rlhf.models.generation import Sampling, sample

    assert isinstance(model, PreTrainedModel)
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    assert isinstance(tokenizer.eos_token_id, int)
    assert isinstance(tokenizer.pad_token_id, int)
    settings: SampleConfig = work.config.sample
    completions = sample(
        model,
        [asked[prompt.id] for prompt, _ in wanted],
        [
            seed_from("sample", work.config.seed, prompt.id, number, attempt)
            for prompt, number in wanted
        ],
        Sampling(settings.max_new_tokens, settings.temperature, settings.top_p),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        batch_size=settings.batch_size,
        progress=work.progress,
    )
    return [
        Response.of(
            prompt.id, decode(tokenizer, completion.ids), model="sft", finished=completion.finished
        )
        for (prompt, _), completion in zip(wanted, completions, strict=True)
    ]


STAGE = Stage(
    "sample", "Sample responses to rank", ("prompts", "sft"), 1, settings, run, outside=outside
)
