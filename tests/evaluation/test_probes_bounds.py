"""What becomes of a figure beside its bounds, the intervals that figures have, and probes by
name.
"""

import sys
from pathlib import Path

import pytest
from scipy import stats

from rlhf.evaluation.probes.bounds import Bound, Side, bounds_of, spelled
from rlhf.evaluation.probes.finding import Finding, judged
from rlhf.evaluation.probes.means import difference_of, mean_of, ratio_of
from rlhf.evaluation.probes.measure import Measure
from rlhf.evaluation.probes.names import BUILT_IN
from rlhf.evaluation.probes.registry import probe_named, source_of


def bound(
    side: Side = "most", beware: float | None = 0.1, fail: float | None = 0.3, name: str = "x"
) -> Bound:
    return Bound(name, "a figure", "points", side, beware, fail, "{policy} has {value}", "so")


@pytest.mark.parametrize(
    ("low", "value", "high", "verdict"),
    [
        (-0.1, 0.05, 0.2, "ok"),  # may be beyond, is not surely
        (0.05, 0.2, 0.35, "ok"),
        (0.11, 0.2, 0.29, "beware"),  # surely beyond the milder
        (0.05, 0.31, 0.57, "ok"),  # the value alone is no verdict
        (0.31, 0.4, 0.5, "fail"),
        (0.1, 0.2, 0.3, "ok"),  # on the bound is not beyond it
    ],
)
def test_verdicts_by_value_and_interval(
    low: float, value: float, high: float, verdict: str
) -> None:
    assert bound("most").verdict(Measure(value, low, high, 9)) == verdict
    mirrored = Measure(-value, -high, -low, 9)
    assert bound("least", -0.1, -0.3).verdict(mirrored) == verdict
    if low >= 0 or verdict == "ok":
        assert bound("either").verdict(Measure(value, low, high, 9)) == verdict
        assert bound("either").verdict(mirrored) == verdict


def test_a_bound_that_is_not_set_gives_no_such_verdict() -> None:
    far = Measure(9.0, 8.0, 10.0, 9)
    assert bound(fail=None).verdict(far) == "beware"
    assert bound(beware=None).verdict(Measure(0.2, 0.15, 0.25, 9)) == "ok"
    assert bound(beware=None).verdict(far) == "fail"


def test_ok_says_whether_the_interval_rules_it_out() -> None:
    assert bound().rules_out(Measure(0.0, -0.4, 0.3, 9))
    assert not bound().rules_out(Measure(0.0, -0.1, 0.31, 9))
    assert not bound("either").rules_out(Measure(0.0, -0.31, 0.05, 9))
    assert not bound(fail=None).rules_out(Measure(0.0, 0.0, 0.11, 9))
    said = judged("T", {"dpo": Finding({"x": Measure(0.0, -0.4, 0.4, 9)})}, [bound()], ["dpo"])
    assert said["says"] == (
        "DPO has +0.0 points (-40.0 points to +40.0 points); asked for at most 10.0 points; the "
        "interval leaves worse open."
    )
    assert said["policy"]["dpo"]["checks"]["x"]["sure"] is False


def test_bounds_that_contradict_one_another_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'x': fail \(0.1\) must not be milder than beware"):
        bound(beware=0.3, fail=0.1)
    with pytest.raises(ValueError, match="must not be milder"):
        bound("least", beware=0.4, fail=0.5)
    with pytest.raises(ValueError, match="unit is one of"):
        Bound("x", "t", "miles", "most", 1, 2, "", "")  # type: ignore[arg-type]


def test_the_worst_figure_of_the_worst_trained_policy_stands_at_the_top() -> None:
    fine, bad, worse = (Measure(v, v - 0.01, v + 0.01, 5) for v in (0.0, 0.2, 0.5))
    found = judged(
        "T",
        {
            "sft": Finding({"y": worse}),
            "dpo": Finding({"x": fine, "y": bad}, {"kept": 1}),
            "ppo": Finding({"x": fine, "y": worse}),
        },
        [bound(), bound(name="y")],
        ["dpo", "ppo"],
    )
    assert (found["worst"], found["verdict"], found["value"]) == ("ppo", "fail", 0.5)
    assert found["policy"]["dpo"]["check"] == "y"
    assert found["policy"]["dpo"]["verdict"] == "beware"
    assert found["policy"]["dpo"]["checks"]["x"]["verdict"] == "ok"
    assert found["details"]["dpo"] == {"kept": 1}
    assert found["says"].startswith("PPO has +50.0 points (+49.0 points to +51.0 points); which")


def test_a_figure_without_a_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="no bound is named z"):
        judged("T", {"dpo": Finding({"z": Measure(0, 0, 0, 2)})}, [bound()], ["dpo"])
    with pytest.raises(ValueError, match="no policy has a figure"):
        judged("T", {"dpo": Finding({})}, [bound()], ["dpo"])


def test_the_mean_has_students_interval() -> None:
    # mean 3, s = sqrt(((-2)^2 + 0 + 2^2) / 2) = 2, error 2 / sqrt 3, t(2) at 97.5 % = 4.302653
    found = mean_of([1.0, 3.0, 5.0])
    assert found.value == pytest.approx(3.0)
    assert found.high - found.value == pytest.approx(4.302653 * 2 / 3**0.5, rel=1e-6)
    expected = stats.ttest_1samp([1.0, 3.0, 5.0], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_several_comparisons_widen_the_interval_as_bonferroni_says() -> None:
    values = [0.0, 1.0, 4.0, 2.0]
    expected = stats.ttest_1samp(values, 0).confidence_interval(1 - 0.05 / 6)
    assert mean_of(values, comparisons=6).high == pytest.approx(expected.high)


def test_a_ratio_counts_each_item_once() -> None:
    # 6 of 12; rests 1 - 1, 2 - 3, 3 - 2 = 0, -1, 1; variance 3/2 * 2 / 144; t(2) = 4.302653
    found = ratio_of([1.0, 2.0, 3.0], [2.0, 6.0, 4.0])
    assert found.value == 0.5
    assert found.value - found.low == pytest.approx(4.302653 * (3 / 144) ** 0.5, rel=1e-6)


def test_the_difference_of_two_bodies_adds_their_variances() -> None:
    ours, theirs = ([1.0, 3.0, 5.0], [1.0] * 3), ([0.0, 2.0], [1.0] * 2)
    found = difference_of(ours, theirs)
    assert found.value == 2.0
    # variances of the means: 4 / 3 and 2 / 2; one degree of freedom, t = 12.706205
    assert found.high - found.value == pytest.approx(12.706205 * (4 / 3 + 1) ** 0.5, rel=1e-6)


def test_one_item_has_no_interval() -> None:
    with pytest.raises(ValueError, match="needs two items or more, got 1"):
        mean_of([1.0])
    with pytest.raises(ValueError, match="sum to 0"):
        ratio_of([1.0, 1.0], [0.0, 0.0])


@pytest.mark.parametrize("name", [*BUILT_IN, "contamination", "generalisation"])
def test_every_committed_bound_has_its_reason(name: str) -> None:
    for one in bounds_of(name):
        assert len(one.why) > 40
        assert "{policy}" in one.says
        assert "{value}" in one.says
        assert (one.beware, one.fail) != (None, None)


@pytest.mark.parametrize("name", BUILT_IN)
def test_built_in_probes_are_found_by_name(name: str) -> None:
    found = probe_named(name)
    assert found.title
    assert found.bounds == bounds_of(name)
    source = source_of(name)
    assert source is not None
    assert source.name == f"{name}.py"


def test_a_probe_of_ones_own_is_one_small_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/shouting.py").write_text(
        "from rlhf.evaluation.probes.bounds import Bound\n"
        "from rlhf.evaluation.probes.finding import Finding\n"
        "from rlhf.evaluation.probes.means import mean_of\n"
        "TITLE = 'Shouting'\n"
        "BOUNDS = (Bound('loud', 'loud', 'share', 'most', 0.1, None, '{policy} {value}', '!'),)\n"
        "def probe(bench):\n"
        "    return {name: Finding({'loud': mean_of([float(one.replies[name].text.isupper())\n"
        "        for one in bench.answered])}) for name in bench.trained}\n"
    )
    (tmp_path / "ours/lame.py").write_text("TITLE = 'Lame'\n")
    (tmp_path / "ours/boundless.py").write_text("TITLE = 'B'\ndef probe(bench): return {}\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found = probe_named("ours.shouting")
        assert (found.title, found.bounds[0].name) == ("Shouting", "loud")
        assert source_of("ours.shouting") == tmp_path / "ours/shouting.py"
        with pytest.raises(ValueError, match="needs a text TITLE and a function probe"):
            probe_named("ours.lame")
        with pytest.raises(ValueError, match="needs BOUNDS"):
            probe_named("ours.boundless")
    finally:
        for name in [one for one in sys.modules if one.startswith("ours")]:
            del sys.modules[name]


@pytest.mark.parametrize("ask", [probe_named, source_of])
def test_an_unknown_probe_is_refused_with_the_names(ask: object) -> None:
    assert callable(ask)
    with pytest.raises(ValueError, match=r"no probe 'biass' .*choose from bias, safety"):
        ask("biass")


def test_figures_are_spelled_with_their_units() -> None:
    assert spelled(0.654, "share") == "65 %"
    assert spelled(0.2, "percent") == "+20 %"
    assert spelled(-0.0312, "points") == "-3.1 points"
    assert spelled(0.5, "spreads") == "+0.50 spreads"
    assert spelled(0.08, "nats") == "+0.080 nats"
    assert spelled(1.5, "number") == "+1.50"
    assert spelled(20, "words") == "20 words"
