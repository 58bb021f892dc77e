"""What the judge says of PPO's policy at each look at held-out prompts, once PPO has ended: the
training itself never hears of it.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

from pipelines.artifacts import read_prompts_of
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_jsonl
from rlhf.data.records import Prompt, Response

SAMPLES = "samples.jsonl"


def judged_on_the_way(
    ppo: Path, prompts: Path, judge: Callable[[Prompt, Response], float], limit_tokens: int
) -> list[Json]:
    """A row per look: its `episode`, the mean `kl` (nats) and `judged` reward of the answers that
    were kept, its standard error, and how many `answers`.

    `ppo` and `prompts` are the stages' folders. PPO keeps the answers to the first validation
    prompts, in their order; where a kept question is not that prompt's, nothing is judged. An
    answer of `limit_tokens` is taken for one that the limit cut off.
    """
    path = ppo / SAMPLES
    if not path.exists():
        return []
    asked = [prompt for prompt in read_prompts_of(prompts) if prompt.split == "validation"]
    looks: dict[int, list[Json]] = {}
    for row in read_jsonl(path):
        looks.setdefault(row["episode"], []).append(row)
    found = []
    for episode, rows in sorted(looks.items()):
        pairs = list(zip(asked, rows, strict=False))
        if len(pairs) < len(rows) or any(one.text not in row["query"] for one, row in pairs):
            return []
        judged = [
            judge(
                prompt,
                Response.of(
                    prompt.id, row["model response"], finished=row["tokens"] < limit_tokens
                ),
            )
            for prompt, row in pairs
        ]
        look: Json = {"episode": episode, "kl": fmean(row["kl"] for row in rows)}
        look |= {"judged": fmean(judged), "answers": len(rows)}
        if len(rows) > 1:
            look["judged_se"] = stdev(judged) / len(rows) ** 0.5
        found.append({name: round(v, 6) if isinstance(v, float) else v for name, v in look.items()})
    return found
