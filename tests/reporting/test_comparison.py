"""Several runs on one page: figures side by side, what differs, and what cannot be compared."""

from pathlib import Path

import pytest
from run_by_hand import CONFIG, answer_rows, plain, policy, results, write_run

from rlhf.data.identity import Json
from rlhf.reporting.comparison import (
    Named,
    against_first,
    check_comparable,
    differences,
    lead,
    named,
    policy_table,
    reward_table,
    write_comparison,
)
from rlhf.reporting.reading import read_run


def a_run(folder: Path, gains: list[float], **changes: Json) -> Path:
    found = results()
    for name, value in changes.pop("evaluate", {}).items():
        found["evaluate"][name] = value
    config = {**CONFIG, **changes}
    return write_run(folder, found, answers=answer_rows(gains), config=config)


@pytest.fixture
def runs(tmp_path: Path) -> list[Named]:
    """One config but for PPO's KL coefficient; the second run's DPO is better in 9 of 10."""
    rows = results()["evaluate"]["policies"]
    other = {**rows, "ppo": policy(0.60, 0.55, 0.65, kl=1.0), "rloo": policy(0.66, 0.61, 0.71)}
    folders = [
        a_run(tmp_path / "first", [1.0] * 10, ppo={"enabled": True, "trainer": {"kl_coef": 0.05}}),
        a_run(
            tmp_path / "second",
            [2.0] * 9 + [0.0],
            ppo={"enabled": True, "trainer": {"kl_coef": 0.1}},
            evaluate={"policies": other},
        ),
    ]
    return named([(folder, read_run(folder)) for folder in folders])


def test_win_rates_stand_side_by_side(runs: list[Named]) -> None:
    found = {
        row.name: [plain(f"{cell.value} {cell.beside} {cell.below}".strip()) for cell in row.cells]
        for row in policy_table(runs)
    }
    assert list(found) == ["best of 16", "DPO", "PPO", "RLOO", "SFT"]
    assert found["PPO"] == ["69 % 64–73 2.4 nats, 30 tokens", "60 % 55–65 1.0 nats, 30 tokens"]
    assert found["RLOO"] == ["–", "66 % 61–71 2.0 nats, 30 tokens"]


def test_only_what_differs_is_told_of_the_configs(runs: list[Named]) -> None:
    rows = [(row.name, [cell.value for cell in row.cells]) for row in differences(runs)]
    assert rows == [("ppo.trainer.kl_coef", ["0.05", "0.1"])]


def test_the_best_policies_meet_prompt_by_prompt(runs: list[Named]) -> None:
    [(name, won)] = against_first(runs)
    assert name == "DPO of second"
    assert (won.wins, won.ties, won.losses, won.rate) == (9, 0, 1, 0.9)
    assert plain(lead(runs)) == (
        "DPO of second beats DPO of first in 90 % (60 to 98 %) of the same 10 prompts."
    )
    assert lead(runs[::-1]) == "DPO of second beats the best policy of every other run."
    assert lead([runs[0], runs[0]]) == (
        "No run's best policy is told apart from DPO of first as the better one."
    )


def test_what_only_compared_with_its_own_sft_is_not_held_against_another_run(
    tmp_path: Path,
) -> None:
    def page(judge: str, **changes: object) -> str:
        told = {"model": "m", "inconsistent": 1, "comparisons": 100, "unusable": 0}
        found = {"judge": judge, "judge_told": told, **changes}
        folders = [
            a_run(tmp_path / judge / name, [gain] * 10, evaluate=found)
            for name, gain in (("one", 1.0), ("two", -1.0))
        ]
        return write_comparison(folders, tmp_path / f"{judge}.html").read_text(encoding="utf-8")

    asked = page("endpoint:m")
    assert "never two runs" in asked
    assert "Against DPO of one" not in asked
    assert 'class="lead"' not in asked
    assert "Against DPO of one" in page("built-in")
    assert "never two runs" not in page("built-in")
    kinder = "Each run is judged by its own {}, so that a better figure may be a kinder judge."
    assert kinder.format("monitor") in page("monitor", judge_independent=False)
    assert kinder.format("reward model") in page("reward")
    assert "kinder" not in page("built-in")


def test_the_reward_models(runs: list[Named]) -> None:
    found = {row.name: [plain(cell.value) for cell in row.cells] for row in reward_table(runs)}
    assert found["accuracy on held-out prompts"] == ["74 %", "74 %"]
    assert found["certificate"] == ["fit for RL", "fit for RL"]


def test_the_page_holds_each_run_s_verdict(runs: list[Named], tmp_path: Path) -> None:
    folders = [tmp_path / name for name, _ in runs]
    html = write_comparison(folders, tmp_path / "c.html").read_text(encoding="utf-8")
    assert "2 runs compared" in html
    for name in ("first", "second"):
        assert f"{name}: Ship the DPO policy." in html
    assert html.count("<figure>") == 1
    again = write_comparison(folders, tmp_path / "d.html").read_text(encoding="utf-8")
    assert again == html


def test_hostile_names_and_settings_stay_text(tmp_path: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>{{ 7 * 7 }}"
    first = a_run(tmp_path / "first", [1.0])
    second = a_run(tmp_path / "<b>$x$", [1.0], label={"guidelines": hostile})
    html = write_comparison([first, second], tmp_path / "c.html").read_text(encoding="utf-8")
    assert "<img" not in html
    assert "<b>" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;{{ 7 * 7 }}" in html
    assert "&lt;b&gt;$x$" in html


def test_other_prompts_are_refused_naming_both(tmp_path: Path) -> None:
    folders = [a_run(tmp_path / "first", [1.0] * 3), a_run(tmp_path / "second", [1.0] * 2)]
    target = tmp_path / "c.html"
    with pytest.raises(ValueError, match=r"first and second .* \(3 and 2, 2 of them the same\)"):
        write_comparison(folders, target)
    assert not target.exists()


def test_other_judges_and_no_evaluation_are_refused(tmp_path: Path) -> None:
    first = a_run(tmp_path / "first", [1.0])
    second = a_run(tmp_path / "second", [1.0], evaluate={"judge": "reward"})
    with pytest.raises(ValueError, match="first was judged by built-in and second by reward"):
        check_comparable(named([(one, read_run(one)) for one in (first, second)]))
    early = write_run(tmp_path / "early", {"prompts": results()["prompts"]})
    with pytest.raises(ValueError, match="early has not compared its policies yet"):
        write_comparison([first, early], tmp_path / "c.html")


def test_runs_of_one_name_are_told_apart_and_one_given_twice_is_refused(tmp_path: Path) -> None:
    folders = [a_run(tmp_path / place / "small", [1.0]) for place in ("a", "b")]
    found = named([(folder, read_run(folder)) for folder in folders])
    assert [name for name, _ in found] == ["a/small", "b/small"]
    with pytest.raises(ValueError, match="small is given twice"):
        write_comparison([folders[0], folders[0]], tmp_path / "c.html")
