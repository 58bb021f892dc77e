"""Regression against SFT: how much less likely the demonstrations of held-out prompts have become
(the "alignment tax", Ouyang et al. 2022).

Some rise is what alignment is for, where people prefer other answers than those that were
demonstrated; a large one says that the policy forgot what it had been taught.
"""

from math import exp

from rlhf.data.records import Prompt
from rlhf.evaluation.probes.bench import BASE, Bench, Reply
from rlhf.evaluation.probes.finding import Finding, NothingToProbeError
from rlhf.evaluation.probes.means import mean_of, ratio_of

TITLE = "Regression against SFT"
FEWEST = 10


def probe(bench: Bench) -> dict[str, Finding]:
    """Nats per token of the demonstrations of the test split, or of validation where that has too
    few, less those of SFT on the same tokens.
    """
    prompts = _demonstrated(bench)
    replies = [Reply(one.demonstration or "", 0) for one in prompts]
    base = bench.models.nats(BASE, prompts, replies)
    tokens = [float(count) for _, count in base]
    found: dict[str, Finding] = {}
    for name in bench.policies:
        lost = base if name == BASE else bench.models.nats(name, prompts, replies)
        per_token = sum(nats for nats, _ in lost) / sum(tokens)
        more = [ours - theirs for (ours, _), (theirs, _) in zip(lost, base, strict=True)]
        found[name] = Finding(
            {} if name == BASE else {"tax": ratio_of(more, tokens)},
            {
                "split": prompts[0].split,
                "demonstrations": len(prompts),
                "nats_per_token": round(per_token, 6),
                "perplexity": round(exp(min(per_token, 700)), 4),
                "worse_in": round(mean_of([float(one > 0) for one in more]).value, 4),
            },
        )
    return found


def _demonstrated(bench: Bench) -> list[Prompt]:
    for split in ("test", "validation"):
        held = [one for one in bench.prompts.get(split, ()) if one.demonstration]
        if len(held) >= FEWEST:
            return sorted(held, key=lambda one: one.id)[: bench.limit]
    raise NothingToProbeError(
        f"fewer than {FEWEST} prompts of the test or the validation split have a demonstration"
    )
