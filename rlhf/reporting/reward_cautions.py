"""What to be wary of in the rankings, the reward model, and what was made of its certificate."""

from collections.abc import Iterator

from rlhf.data.policies import policy_name
from rlhf.reporting.caution import Caution
from rlhf.reporting.certificate import FIT, unfit
from rlhf.reporting.formatting import number, percent, with_span
from rlhf.reporting.length import SIGNS_OF_LENGTH, held_out, length_signs
from rlhf.reporting.reading import RunRecord

ACCURACY_GAP = 0.10
AGREEMENT = 0.65
CALIBRATION = 0.10


def length_trap(run: RunRecord) -> Iterator[Caution]:
    signs = length_signs(run)
    if len(signs) >= SIGNS_OF_LENGTH:
        yield Caution("The reward model has learned length.", " ".join(signs), grave=True)


def unfit_reward(run: RunRecord) -> Iterator[Caution]:
    verdict = unfit(run)
    if verdict is not None:
        yield Caution(
            "PPO climbed a reward model that is not certified for RL.",
            f"The certificate says: {verdict}. The config told PPO to start all the same "
            "(ppo.allow_unfit_reward).",
        )
    elif run.result("ppo") and not run.certificate:
        yield Caution(
            "The reward model was not certified.",
            "Nobody checked whether it is good enough for PPO; turn on certify.enabled.",
        )


def left_out(run: RunRecord) -> Iterator[Caution]:
    """RL that the config asks for and the certificate did not let start."""
    verdict = run.certificate.get("verdict", FIT)
    if "evaluate" not in run.stages or verdict == FIT:
        return
    for name in ("ppo", "rloo"):
        asked = run.config.get(name, {})
        if asked.get("enabled") and not asked.get("allow_unfit_reward") and not run.result(name):
            yield Caution(
                f"{policy_name(name)} was left out.",
                f"The certificate of the reward model says: {verdict}. The policies on this page "
                "are those that were trained without it.",
            )


def length_baseline(run: RunRecord) -> Iterator[Caution]:
    found = held_out(run.result("reward"))
    if len(length_signs(run)) >= SIGNS_OF_LENGTH:
        return
    if found and found[1]["accuracy"]["low"] <= found[1]["length_baseline"]["value"]:
        accuracy, baseline = found[1]["accuracy"], found[1]["length_baseline"]
        yield Caution(
            "The reward model may know little more than length.",
            f"It orders {with_span(accuracy['value'], (accuracy['low'], accuracy['high']))} of "
            "the held-out votes rightly; picking the longer answer orders "
            f"{percent(baseline['value'])}.",
        )


def overfit(run: RunRecord) -> Iterator[Caution]:
    reward = run.result("reward")
    found = held_out(reward)
    if found and "train" in reward:
        train, other = reward["train"]["accuracy"]["value"], found[1]["accuracy"]["value"]
        if train - other > ACCURACY_GAP:
            yield Caution(
                "The reward model is overfitted.",
                f"{percent(train)} accuracy on its training prompts, {percent(other)} on held-out "
                "ones.",
            )


def calibration(run: RunRecord) -> Iterator[Caution]:
    found = held_out(run.result("reward"))
    if found and found[1]["calibration_error"] > CALIBRATION:
        row = found[1]
        too_sure = sum((p - share) * votes for p, share, votes in row["bins"] if p > 0.5) > 0
        yield Caution(
            f"The reward model is {'too sure' if too_sure else 'not sure enough'}.",
            "Its probabilities miss the labelers' shares by "
            f"{number(row['calibration_error'])} on average.",
        )


def agreement(run: RunRecord) -> Iterator[Caution]:
    agreement = run.result("label").get("agreement", {})
    strict = agreement.get("strict")
    if strict is not None and strict < AGREEMENT:
        yield Caution(
            "Labelers disagree.",
            f"Two labelers order {with_span(strict, agreement['strict_interval'])} of pairs "
            "alike; half would be chance. The guidelines may leave too much open.",
        )
