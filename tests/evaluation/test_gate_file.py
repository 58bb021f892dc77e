"""The file of rules: the committed one, one of one's own, and what is refused."""

from pathlib import Path

import pytest
from evaluated import dpo, results

from rlhf.evaluation.evidence import FACTS
from rlhf.evaluation.gate import load_gate, verdict_on


def test_the_committed_gate_asks_of_every_fact_and_gives_reasons() -> None:
    rules = load_gate()
    assert {rule.name for rule in rules} == set(FACTS)
    assert all(rule.why.endswith(".") and not rule.remedy.endswith(".") for rule in rules)


def test_a_gate_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    text = (
        "- {name: win_rate, title: t, unit: share, above: 0.65, required: true, why: w, remedy: r}"
    )
    path.write_text(text)
    made = verdict_on(results(), load_gate(path))
    assert made.decision == "not enough evidence"
    # Against 65 %: (1.96 sqrt(0.65 * 0.35) + 0.8416 sqrt(0.7 * 0.3))^2 / 0.05^2 = 697.1
    assert made.missing == 698 - 200
    assert verdict_on(results(), load_gate(path), policy="ppo").decision == "not enough evidence"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [", "is not YAML"),
        ("a: 1", "must hold a list of rules"),
        ("[]", "must hold a list of rules"),
        ("- {name: charm, at_least: 1}", "has a rule 'charm': choose from prompts"),
        ("- {name: win_rate, above: 0.5, at_most: 1}", "needs a number at one of above"),
        ("- {name: win_rate, above: much}", "needs a number at one of above"),
        ("- {name: win_rate, above: true}", "needs a number at one of above"),
        ("- {name: win_rate, above: .nan}", "needs a number at one of above"),
        ("- {name: win_rate, above: 50, unit: percent}", "needs a unit of share, points"),
        ("- {name: win_rate, above: 0.5, required: 'no'}", "true or false at required"),
        ("- {name: win_rate, above: 0.5, else: ship}", "has else: 'ship'; write do not ship"),
        ("- {name: win_rate, above: 0.5, title: 5}", "needs a text at title, in quotes"),
        ("- {name: win_rate, above: 0.5, why: [w]}", "needs a text at why, in quotes"),
        ("- {name: win_rate, above: 0.5}", "needs name, title, unit, required, why, remedy"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        load_gate(path)
    with pytest.raises(ValueError, match="no gate at"):
        load_gate(tmp_path / "other.yaml")


@pytest.mark.parametrize("bound", [0.99, 0.9995, 1.0, 0.0])
def test_a_policy_that_won_everything_before_a_high_bound(tmp_path: Path, bound: float) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(
        f"- {{name: win_rate, title: t, unit: share, above: {bound}, required: true, why: w, "
        "remedy: r}"
    )
    found = results(dpo(win_rate=1.0, win_rate_low=0.98, win_rate_high=1.0))
    made = verdict_on(found, load_gate(path), policy="dpo")
    if bound in {0.0, 1.0}:
        assert made.decision == ("ship" if bound == 0 else "do not ship")
        return
    assert made.decision == "not enough evidence"
    assert any("comparisons" in one for one in made.sentences)
    # As 99.9 %: (1.96 sqrt(0.99 * 0.01) + 0.8416 sqrt(0.999 * 0.001))^2 / 0.009^2 = 606.3
    assert made.missing == (607 - 200 if bound == 0.99 else None)


def test_a_gate_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_bytes(b"\xff\xfe[")
    with pytest.raises(ValueError, match="is not YAML"):
        load_gate(path)


def test_a_gate_that_asks_nothing_of_this_policy_ships_nothing() -> None:
    people = [rule for rule in load_gate() if rule.name == "people"]  # nobody was asked here
    for rules in ([], people):
        made = verdict_on(results(), rules)
        assert (made.decision, made.checks) == ("not enough evidence", ())
        assert "No rule of the gate asks about anything" in made.sentences[0]
