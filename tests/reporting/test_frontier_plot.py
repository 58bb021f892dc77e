"""Reward against KL in the report: what was measured, in spreads, and what the curves say."""

from math import log, sqrt
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from run_by_hand import CONFIG, METRICS, answer_rows, policy, results, write_run

from rlhf.data.identity import Json
from rlhf.reporting.cautions import cautions_of
from rlhf.reporting.frontier import frontier_plot, frontiers_plot, name_spots
from rlhf.reporting.measured import Spot, best_of_n, fitted, spots, trail_name, trails
from rlhf.reporting.reading import RunRecord, read_run

NATS = (0.0, 1.0, 4.0, 9.0, 16.0)  # d = 0, 1, 2, 3, 4


def seen(*, monitor: bool) -> list[Json]:
    """PPO's looks at held-out prompts: the reward rises by d, the monitor follows d (1 - log d)."""
    rows: list[Json] = []
    for step, kl in enumerate(NATS, 1):
        d = sqrt(kl)
        row: Json = {"step": step, "objective/scores": d, "objective/kl": kl}
        row |= {"held_out/kl": kl, "held_out/reward": 0.5 + d}
        if monitor:
            gain = d * (1 - log(d)) if d else 0.0
            row |= {"held_out/monitor": 2 + gain, "held_out/monitor_se": 0.1}
        rows.append(row)
    return rows


def a_run(folder: Path, rows: list[Json], monkeypatch: pytest.MonkeyPatch, **ppo: int) -> RunRecord:
    monkeypatch.setitem(METRICS, "ppo", rows)
    # Scores of SFT's answers are 0 and 2, so a spread is 1; those of the judge 1 and 5, 2.
    answers = answer_rows([1.0, 2.0])
    for place, row in enumerate(answers):
        row["answers"]["reference"] |= {"proxy_reward": 2.0 * place, "gold_reward": 1 + 4.0 * place}
    config = {**CONFIG, "ppo": {"enabled": True, **ppo}}
    return read_run(write_run(folder / "small", results(), answers=answers, config=config))


def test_where_the_policies_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {spot.policy: spot for spot in spots(a_run(tmp_path, [], monkeypatch))}
    # The judge gives SFT 0.2 and the others 1.0; the reward model 0.0 and 0.5.
    # DPO gains 1 and 2 over SFT's second draw: 1.96 sd / sqrt(2) = 0.98, in spreads of 2.
    dpo = found["dpo"]
    assert (dpo.kl, dpo.proxy, dpo.bound) == (3.17, 0.5, False)
    assert (dpo.judged, dpo.half) == pytest.approx((0.4, 0.49), abs=1e-4)
    assert (found["sft"].kl, found["sft"].proxy, found["sft"].judged) == (0, 0, 0)
    assert (found["best_of_16"].kl, found["best_of_16"].bound) == (1.835, True)


def test_the_longest_of_n_is_no_way_to_climb_a_reward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = results()
    found["evaluate"]["policies"] |= {
        "longest_of_16": policy(0.4, 0.3, 0.5),
        "best_of_4": policy(0.6, 0.5, 0.7, kl_bound=0.636),
    }
    monkeypatch.setitem(METRICS, "ppo", [])
    drawn = spots(read_run(write_run(tmp_path / "small", found)))
    assert "longest_of_16" not in {spot.policy for spot in drawn}
    assert [spot.policy for spot in best_of_n(drawn)] == ["best_of_4", "best_of_16"]


def test_what_ppo_saw_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reward, monitor = trails(a_run(tmp_path, seen(monitor=True), monkeypatch, held_out_prompts=25))
    assert (reward.algorithm, reward.judge, reward.kl) == ("ppo", "reward model", NATS)
    assert reward.gains == (0, 1, 2, 3, 4)
    # The monitor's spread: a standard error of 0.1 over 25 prompts.
    assert monitor.gains[1] == pytest.approx(1 / 0.5)


def test_a_way_that_does_not_start_at_sft_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert trails(a_run(tmp_path / "a", seen(monitor=True)[1:], monkeypatch)) == []
    assert trails(a_run(tmp_path / "b", seen(monitor=True)[:1], monkeypatch)) == []


def test_the_curves_are_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = a_run(tmp_path, seen(monitor=True), monkeypatch, held_out_prompts=100)
    plot = frontier_plot(run)
    assert plot is not None
    caption = plot.caption.replace("\u202f", " ")
    assert (
        "PPO, reward model: d (1.00 − 0.00 log d) through 4 points, no peak within the measured "
        "range (up to 16.0 nats)." in caption
    )
    # d (1 - log d) is highest at d = 1.
    assert "PPO, monitor: d (1.00 − 1.00 log d) through 4 points, highest at 1.0 nats" in caption
    assert "Best-of-n, judge: no curve is fitted, 1 measured away from SFT" in caption


def test_noise_is_told_as_an_interval() -> None:
    gains = [d * (1 - 0.5 * log(d)) + 0.05 * (-1) ** d for d in range(1, 9)]
    found = fitted("PPO, judge", "", "rl", [float(d * d) for d in range(1, 9)], gains)
    assert found.curve is not None
    assert found.curve.peak_low is not None
    assert found.curve.peak_high is not None
    low, high = (f"{end * end:.1f}" for end in (found.curve.peak_low, found.curve.peak_high))
    assert f"{found.curve.peak_low**2:.1f} to {high})" in found.words
    assert float(low) < 7.4 < float(high)  # e^2, where 1 - log(d) / 2 - 1 / 2 = 0


def test_what_the_judge_said_of_ppo_on_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path, seen(monitor=False), monkeypatch)
    look: Json = {"answers": 24, "judged_se": 0.5}
    looks = [{"kl": kl, "judged": 3 + 2 * kl, **look} for kl in (0.0, 1.0, 4.0)]
    run.stages["evaluate"].result["on_the_way"] = {"ppo": looks, "rloo": looks[:1]}
    reward, judged = trails(run)
    assert (reward.judge, judged.judge, judged.kl) == ("reward model", "judge", (0.0, 1.0, 4.0))
    assert judged.gains == (0, 1, 4)  # a spread of the judge is 2
    said = trail_name(judged).replace("\u202f", " ")
    assert said == "PPO, judge (24 answers a look, each ± 0.25)"


def test_past_the_monitor_s_peak_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = a_run(tmp_path / "past", seen(monitor=True), monkeypatch)
    [caution] = [one for one in cautions_of(run) if "monitor" in one.headline]
    assert caution.headline == "PPO went past what its monitor likes best."
    assert caution.text.startswith("It ended at 16.0 nats;")
    run = a_run(tmp_path / "not", seen(monitor=False), monkeypatch)
    assert not [one for one in cautions_of(run) if "monitor" in one.headline]


def test_several_runs_give_the_judge_a_curve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(METRICS, "ppo", [])
    runs = []
    for kl in (1.0, 4.0, 9.0, 16.0):
        found = results()
        sft = found["evaluate"]["policies"]["sft"]
        gain = sqrt(kl) * (1 - 0.5 * log(sqrt(kl)))
        ppo = policy(0.7, 0.6, 0.8, kl=kl, gold_reward=sft["gold_reward"] + gain)
        found["evaluate"]["policies"] = {"sft": sft, "ppo": ppo}
        found["evaluate"]["best"] = "ppo"
        runs.append((f"at {kl}", read_run(write_run(tmp_path / f"{kl}", found))))
    plot = frontiers_plot(runs)
    assert plot is not None
    assert "PPO, judge: d (1.00 − 0.50 log d) through 4 points, highest at 7.4 nats" in plot.caption
    assert all(f"at {kl}" in plot.svg for kl in (1.0, 4.0, 9.0, 16.0))


def test_nothing_measured_is_no_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "ppo", [])
    found = {name: row for name, row in results().items() if name != "evaluate"}
    run = read_run(write_run(tmp_path / "small", found))
    assert frontier_plot(run) is None
    assert frontiers_plot([("one", run)]) is None


def test_names_of_points_that_lie_together_do_not_cover_one_another() -> None:
    figure = Figure(figsize=(5, 3.4))
    axes = figure.subplots()
    axes.set_xlim(-0.14, 2.1)
    axes.set_ylim(-0.1, 1.4)
    ended = [("sft", 0.0, 0.0), ("best_of_16", 1.835, 0.806), ("dpo", 2.978, 0.84)]
    ended += [("ppo", 1.797, 0.8057)]
    name_spots(axes, [Spot(name, kl, gain, gain, 0.1, bound=False) for name, kl, gain in ended])
    figure.draw_without_rendering()
    boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
    assert boxes.keys() == {"SFT", "best of 16", "DPO", "PPO"}
    for name, box in boxes.items():
        assert not any(box.overlaps(other) for one, other in boxes.items() if one != name), name
