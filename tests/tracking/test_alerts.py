"""Which outcomes of a stage are told, and in which words."""

import pytest

from rlhf.data.identity import Json
from rlhf.tracking.alerts import MAX_TITLE, Alert, alerts_of, failure


@pytest.mark.parametrize(
    ("stage", "result", "expected"),
    [
        ("sft", {"validation_loss": 0.2}, []),
        (
            "ppo",
            {"alarms": ["the policy writes longer: tokens went from 20.00 to 40.00"]},
            [
                Alert(
                    "ppo: alarm",
                    "The policy writes longer: tokens went from 20.00 to 40.00.",
                    "WARN",
                )
            ],
        ),
        ("ppo", {"alarms": [], "reward_verdict": "fit for RL", "unfit_reward_allowed": False}, []),
        (
            "ppo",
            {"alarms": [], "reward_verdict": "not yet", "unfit_reward_allowed": True},
            [
                Alert(
                    "ppo: unfit reward model",
                    "It trained on a reward model that is certified: not yet.",
                    "WARN",
                )
            ],
        ),
        ("certify", {"verdict": "fit for RL", "sentences": ["All is passed."]}, []),
        (
            "certify",
            {"verdict": "not yet", "sentences": ["Collect 400 more rankings."]},
            [
                Alert(
                    "certify: reward model is not fit for RL",
                    "The reward model is certified: not yet. Collect 400 more rankings.",
                    "WARN",
                )
            ],
        ),
        # The evaluation alone does not say it: probes and people come after it.
        ("evaluate", {"verdict": "ship", "best": "dpo", "judge": "built-in"}, []),
        ("report", {"bytes": 4000}, []),
        (
            "report",
            {"bytes": 4000, "verdict": "ship", "headline": "dpo beats SFT in 79%."},
            [Alert("verdict: ship", "dpo beats SFT in 79%.", "INFO")],
        ),
        (
            "report",
            {"bytes": 4000, "verdict": "not enough evidence", "headline": "Too few."},
            [Alert("verdict: not enough evidence", "Too few.", "WARN")],
        ),
        (
            "report",
            {"bytes": 4000, "verdict": "do not ship", "headline": "dpo loses."},
            [Alert("verdict: do not ship", "dpo loses.", "ERROR")],
        ),
    ],
)
def test_an_outcome_is_told_in_its_words(stage: str, result: Json, expected: list[Alert]) -> None:
    assert list(alerts_of(stage, result)) == expected
    assert all(len(alert.title) <= MAX_TITLE for alert in expected)


def test_a_stage_that_stops_says_why_and_waiting_is_no_error() -> None:
    assert failure("ppo", FloatingPointError("loss is nan")) == Alert(
        "ppo: stopped", "FloatingPointError: loss is nan", "ERROR"
    )
    assert failure("label", RuntimeError("3 of 60 rankings are there"), waits=True) == Alert(
        "label: waits for people", "3 of 60 rankings are there", "INFO"
    )
