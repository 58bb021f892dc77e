"""The reward model: how well it orders what labelers ordered, and what that stands beside."""

from dataclasses import dataclass

from rlhf.data.identity import Json
from rlhf.data.records import SPLITS
from rlhf.evaluation.spelling import listed
from rlhf.reporting.formatting import count, number, percent, percent_range, with_span
from rlhf.reporting.length import held_out
from rlhf.reporting.reading import RunRecord

CEILINGS = {
    "the preference itself": "the preference that the labelers follow orders {} of them",
    "the labelers' agreement": "labelers who agree as these do allow at most about {}",
}


@dataclass(frozen=True, slots=True)
class SplitRow:
    """The reward model on one split, spelled for the table."""

    split: str
    accuracy: str
    interval: str
    baseline: str
    calibration_error: str
    votes: str
    prompts: str


def split_rows(run: RunRecord) -> list[SplitRow]:
    """A row per split that has votes."""
    reward = run.result("reward")
    return [
        SplitRow(
            split,
            percent(row["accuracy"]["value"]),
            percent_range(row["accuracy"]["low"], row["accuracy"]["high"]),
            percent(row["length_baseline"]["value"]),
            number(row["calibration_error"]),
            count(row["accuracy"]["pairs"]),
            count(row["accuracy"]["prompts"]),
        )
        for split in SPLITS
        if split in reward
        for row in (reward[split],)
    ]


def reward_sentences(run: RunRecord) -> list[str]:
    """Accuracy beside baseline and ceiling; what was dropped before training."""
    reward = run.result("reward")
    if not reward:
        return []
    found = held_out(reward)
    if found is None:
        said = ["No held-out prompt has a strict ranking, so its accuracy is not known."]
    else:
        said = [_accuracy(found[1]), *_ceiling(run)]
    return [*said, *_dropped(reward.get("dropped", {}))]


def calibration_caption(run: RunRecord) -> str:
    """What to see in the calibration diagram."""
    found = held_out(run.result("reward"))
    assert found is not None, "the diagram is drawn from the same split"
    row = found[1]
    return (
        "How sure the reward model is that an answer is preferred, against how often labelers "
        "preferred it; larger dots hold more votes. On the dashed line it is exactly as sure as it "
        "should be; flatter than the line, it is too sure. Each pair is counted from both sides. "
        f"Calibration error {number(row['calibration_error'])}; accuracy "
        f"{_span(row['accuracy'])}, longest is best {percent(row['length_baseline']['value'])}"
        f"{_short_ceiling(run)}."
    )


def _accuracy(row: Json) -> str:
    accuracy = row["accuracy"]
    return (
        f"On {count(accuracy['prompts'], 'held-out prompt')} it orders {_span(accuracy)} of "
        f"{count(accuracy['pairs'], 'vote')} as the labelers did; always picking the longer answer "
        f"orders {_span(row['length_baseline'])}."
    )


def _ceiling(run: RunRecord) -> list[str]:
    ceiling = run.result("evaluate").get("ceiling") or {}
    if ceiling.get("value") is None:
        return []
    said = CEILINGS.get(ceiling["from"], f"{ceiling['from']} allows at most {{}}")
    return [f"No model can order all: {said.format(percent(ceiling['value']))}."]


def _short_ceiling(run: RunRecord) -> str:
    value = (run.result("evaluate").get("ceiling") or {}).get("value")
    return "" if value is None else f", ceiling {percent(value)}"


def _dropped(dropped: Json) -> list[str]:
    nouns = {
        "rankings_without_pair": (
            "ranking without a strict pair",
            "rankings without a strict pair",
        ),
        "rankings_without_weight": (
            "ranking of a labeler without weight",
            "rankings of labelers without weight",
        ),
        "responses_too_long": ("response that was too long", "responses that were too long"),
        "responses_empty": ("response without a token", "responses without a token"),
        "pairs_alike": ("pair of the same tokens", "pairs of the same tokens"),
        "prompts_cut": ("prompt cut to fit", "prompts cut to fit"),
    }
    said = [count(dropped[name], *words) for name, words in nouns.items() if dropped.get(name)]
    return [f"Left out of training: {listed(said)}."] if said else []


def _span(share: Json) -> str:
    return with_span(share["value"], (share["low"], share["high"]))
