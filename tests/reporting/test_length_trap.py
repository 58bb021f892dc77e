"""A reward model that has learned length is called out before anything else on the page."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from run_by_hand import answer_rows, measured, results, write_run

from rlhf.data.identity import Json
from rlhf.reporting.cautions import cautions_of
from rlhf.reporting.length import length_signs, longer_preferred
from rlhf.reporting.reading import RunRecord, read_run
from rlhf.reporting.report import render

Found = dict[str, Json]


def votes(found: Found) -> None:
    """Picking the longer answer orders as many votes as the reward model."""
    found["reward"]["test"] = measured(0.74, 0.69, 0.77, baseline=0.73)


def growth(found: Found) -> None:
    """PPO writes twice as long as SFT."""
    found["evaluate"]["policies"]["ppo"]["mean_tokens"] = 60.0


def _few_stages(found: Found) -> None:
    """What the page needs to say it, and few plots."""
    for name in set(found) - {"reward", "evaluate"}:
        del found[name]


def drawn(longer_wins: int, judged: int, of: int = 40) -> list[Json]:
    """SFT's two answers to each of 40 prompts: the second is longer, and scored higher in so many
    by the reward model and by the judge.
    """
    rows = answer_rows([1.0] * of)
    for place, row in enumerate(rows):
        row["answers"]["sft"] |= {
            "tokens": 30,
            "proxy_reward": 0.5 if place < longer_wins else 0.0,
            "gold_reward": 1.5 if place < judged else 0.5,
        }
    return rows


def trapped(
    folder: Path, *changes: Callable[[Found], None], answers: list[Json] | None = None
) -> RunRecord:
    found = results()
    for change in changes:
        change(found)
    return read_run(write_run(folder / "small", found, answers=answers or drawn(20, 20)))


def test_of_two_answers_the_longer_one_by_hand() -> None:
    rows = drawn(3, 1, of=4)
    rows[0]["answers"]["longest_of_16"] = {
        **rows[0]["answers"]["sft"],
        "text": "and longer",
        "tokens": 60,
    }
    # The first prompt has three pairs: two won by the longer, one equal; then 1, 1 and 0 of 1.
    assert longer_preferred(tuple(rows), "proxy_reward") == pytest.approx((4.5 / 6, 6))
    rows[0]["answers"]["best_of_16"] = {**rows[0]["answers"]["sft"], "text": "x", "tokens": 90}
    assert longer_preferred(tuple(rows), "proxy_reward")[1] == 6  # the reward chose it
    assert longer_preferred((), "proxy_reward") == (0.0, 0)


def test_two_signs_are_the_trap_and_stand_first(tmp_path: Path) -> None:
    run = trapped(tmp_path, votes, growth, _few_stages, answers=drawn(36, 24))
    first, *others = cautions_of(run)
    assert (first.headline, first.grave) == ("The reward model has learned length.", True)
    assert first.text.replace("\u202f", " ") == (
        "Always picking the longer answer orders 73 % of the held-out votes as labelers did; the "
        "reward model, 74 % (69 to 77 %). Of two SFT answers to the same prompt it scores the "
        "longer one higher in 90 % of 40 pairs (the judge: 60 %). Trained to please it, PPO "
        "writes 60 tokens an answer, where SFT writes 30."
    )
    assert not any(one.headline.startswith("The reward model may know") for one in others)
    paragraphs = re.findall(r"<p>(.*?)</p>", render(run))
    assert paragraphs[0].startswith("<strong>The reward model has learned length.</strong>")


@pytest.mark.parametrize("alone", [votes, growth])
def test_one_sign_alone_is_not(tmp_path: Path, alone: Callable[[Found], None]) -> None:
    run = trapped(tmp_path, alone)
    assert len(length_signs(run)) == 1
    assert not any(one.grave for one in cautions_of(run))


@pytest.mark.parametrize(
    ("higher", "judged", "of", "fires"),
    [
        (30, 25, 40, True),  # 75 % and 62 %
        (29, 20, 40, False),  # 72 %
        (30, 27, 40, False),  # 75 %, but the judge says 68 %
        (29, 9, 29, False),  # too few pairs
    ],
)
def test_scores_that_follow_length_are_a_sign(
    tmp_path: Path, higher: int, judged: int, of: int, fires: bool
) -> None:
    run = trapped(tmp_path, growth, answers=drawn(higher, judged, of))
    assert any(one.grave for one in cautions_of(run)) == fires


def test_where_the_reward_model_judges_there_is_nothing_to_hold_it_against(tmp_path: Path) -> None:
    def own(found: Found) -> None:
        found["evaluate"]["judge"] = "reward"

    run = trapped(tmp_path, own, growth, answers=drawn(36, 36))
    assert any(one.grave for one in cautions_of(run))
    assert "(the judge" not in cautions_of(run)[0].text


def test_a_policy_that_no_reward_model_drove_says_nothing_about_it(tmp_path: Path) -> None:
    def longer(found: Found) -> None:
        found["evaluate"]["policies"]["dpo"]["mean_tokens"] = 60.0

    assert length_signs(trapped(tmp_path, longer)) == []
