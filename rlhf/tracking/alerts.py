"""What in the outcome of a stage somebody should be told of: W&B sends alerts by mail or chat."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlhf.data.identity import Json

Level = Literal["INFO", "WARN", "ERROR"]
MAX_TITLE = 63  # of W&B
FIT = "fit for RL"
LEVELS: dict[str, Level] = {"ship": "INFO", "do not ship": "ERROR"}


@dataclass(frozen=True, slots=True)
class Alert:
    """One message. The title says what it is about and is the same each time it is."""

    title: str
    text: str
    level: Level = "WARN"


def alerts_of(stage: str, result: Json) -> tuple[Alert, ...]:
    """The alerts of a stage that came to its end, from its figures; none where all is well but for
    the verdict on the policies, which is always told.
    """
    return (
        *alarms_of(stage, result.get("alarms", ())),
        *_certificate(stage, result),
        *_verdict(stage, result),
    )


def alarms_of(stage: str, sentences: Sequence[str]) -> tuple[Alert, ...]:
    """What a trainer found alarming: an alert for each sentence."""
    return tuple(Alert(f"{stage}: alarm", f"{said[:1].upper()}{said[1:]}.") for said in sentences)


def failure(stage: str, error: Exception, *, waits: bool = False) -> Alert:
    """A stage that ended in an error, or that waits for people."""
    if waits:
        return Alert(f"{stage}: waits for people", str(error), "INFO")
    return Alert(f"{stage}: stopped", f"{type(error).__name__}: {error}", "ERROR")


def _certificate(stage: str, result: Json) -> tuple[Alert, ...]:
    """The certificate below "fit for RL", and PPO that was told to start all the same."""
    if result.get("unfit_reward_allowed"):
        text = f"It trained on a reward model that is certified: {result['reward_verdict']}."
        return (Alert(f"{stage}: unfit reward model", text),)
    verdict = result.get("verdict")
    if stage != "certify" or verdict == FIT:
        return ()
    text = " ".join([f"The reward model is certified: {verdict}.", *result.get("sentences", ())])
    return (Alert("certify: reward model is not fit for RL", text),)


def _verdict(stage: str, result: Json) -> tuple[Alert, ...]:
    """What heads the report: ship, do not ship, or not enough evidence, by the gate's rules."""
    if stage != "report" or "verdict" not in result:
        return ()
    verdict = result["verdict"]
    return (Alert(f"verdict: {verdict}", result["headline"], LEVELS.get(verdict, "WARN")),)
