"""Whether a reward model has learned length: signs from votes, scores, and what it drove."""

from itertools import combinations

from rlhf.data.identity import Json
from rlhf.data.policies import policy_name
from rlhf.evaluation.spelling import listed
from rlhf.evaluation.winrate import outcome
from rlhf.reporting.formatting import count, number, percent, with_span
from rlhf.reporting.reading import RunRecord

SIGNS_OF_LENGTH = 2  # one alone has innocent causes: people may like longer answers
PREFERS_LONGER = 0.75
ABOVE_JUDGE = 0.10
FEWEST_PAIRS = 30
GREW = 1.15
THROUGH_REWARD = ("ppo", "rloo", "rejection")


def held_out(reward: Json) -> tuple[str, Json] | None:
    """The split on which the reward model's accuracy counts: test, else validation."""
    name = next((split for split in ("test", "validation") if split in reward), None)
    return (name, reward[name]) if name else None


def length_signs(run: RunRecord) -> list[str]:
    """What points to a reward model that scores length, a sentence each."""
    return [sign for sign in (_votes(run), _scores(run), _growth(run)) if sign]


def _votes(run: RunRecord) -> str:
    """Picking the longer answer does as well on held-out votes."""
    found = held_out(run.result("reward"))
    if not found or found[1]["accuracy"]["low"] > found[1]["length_baseline"]["value"]:
        return ""
    accuracy, baseline = found[1]["accuracy"], found[1]["length_baseline"]
    span = (accuracy["low"], accuracy["high"])
    return (
        f"Always picking the longer answer orders {percent(baseline['value'])} of the held-out "
        f"votes as labelers did; the reward model, {with_span(accuracy['value'], span)}."
    )


def _scores(run: RunRecord) -> str:
    """Of SFT's own answers to one prompt, it likes the longer ones."""
    share, pairs = longer_preferred(run.answers, "proxy_reward")
    own_judge = run.result("evaluate").get("judge") != "reward"
    judged, _ = longer_preferred(run.answers, "gold_reward")
    above = not own_judge or share - judged >= ABOVE_JUDGE
    if pairs < FEWEST_PAIRS or share < PREFERS_LONGER or not above:
        return ""
    beside = f" (the judge: {percent(judged)})" if own_judge else ""
    return (
        f"Of two SFT answers to the same prompt it scores the longer one higher in "
        f"{percent(share)} of {count(pairs, 'pair')}{beside}."
    )


def _growth(run: RunRecord) -> str:
    """What was trained through it writes longer."""
    rows = run.result("evaluate").get("policies", {})
    sft = rows.get("sft", {}).get("mean_tokens", 0.0)
    grown = [
        f"{policy_name(name)} writes {number(rows[name]['mean_tokens'], 0)}"
        for name in THROUGH_REWARD
        if name in rows and rows[name]["mean_tokens"] > GREW * sft > 0
    ]
    if not grown:
        return ""
    return f"Trained to please it, {listed(grown)} tokens an answer, where SFT writes {sft:.0f}."


def longer_preferred(answers: tuple[Json, ...], name: str) -> tuple[float, int]:
    """The share of pairs of SFT's answers to one prompt in which the longer has the higher `name`
    (equal ones count half), and how many pairs of different length there are.

    SFT's answers were drawn without looking at any reward: the longest of n is among them, the
    best of n is not.
    """
    higher, pairs = 0.0, 0
    for row in answers:
        drawn = {
            answer["text"]: answer
            for policy, answer in row["answers"].items()
            if policy in ("reference", "sft") or policy.startswith("longest")
        }
        for one, other in combinations(drawn.values(), 2):
            if one["tokens"] != other["tokens"]:
                short, long = sorted((one, other), key=lambda answer: int(answer["tokens"]))
                pairs += 1
                higher += outcome(long[name], short[name])
    return (higher / pairs if pairs else 0.0), pairs
