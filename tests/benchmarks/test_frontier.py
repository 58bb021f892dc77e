"""The figures of the frontier, from rows worked by hand, and one small world from end to end."""

import pytest

from benchmarks.frontier import KEYS, Job, Rows, measure_seed, summarise, table

SIZES = (300, 1000)


def rows_by_hand(shift: float) -> Rows:
    made: Rows = {}
    for size in SIZES:
        made["well-specified", "careful", size, "plain"] = {"eta2": 0.95 + shift}
        made["well-specified", "careful", size, "aware"] = {"eta2": 0.94 + shift, "auc": 0.5}
        for temper in KEYS:
            for method, eta in (("plain", 0.8), ("dropped by name", 0.9), ("aware", 0.88)):
                made["well-specified", temper, size, method] = {"eta2": eta + shift, "auc": 0.75}
    return made


def test_the_last_line_by_hand() -> None:
    found = summarise([rows_by_hand(0.0), rows_by_hand(0.02)])
    assert found["eta2_exact_300"] == 0.95  # the mean of .94 and .96
    assert found["eta2_exact_300_standard_error"] == 0.0071  # .01 / sqrt(2)
    assert found["eta2_exact_300_first_seeds"] == 0.95
    assert found["recovered_length_1000"] == 0.8  # .08 of .10
    assert found["aware_worst_mean_loss"] == 0.01
    assert found["flag_auc_1000"] == 0.75
    assert {f"recovered_{kind}_{size}" for kind in KEYS.values() for size in SIZES} <= set(found)
    assert "aware_worst_mean_loss_elsewhere" not in found


def test_every_seed_is_shown() -> None:
    shown = table([rows_by_hand(0.0), rows_by_hand(0.02)])
    assert "| well-specified | careful | 300 | aware | – | 0.950 | – | .94 .96 |" in shown


def test_a_world_from_end_to_end() -> None:
    rows = measure_seed(Job("mis-specified", 0, ("careful",)))
    eta = {key: figures["eta2"] for key, figures in rows.items() if "eta2" in figures}
    at = {size: eta["mis-specified", "careful", size, "plain"] for size in (100, 1000)}
    assert 0.3 < at[100] < at[1000] < 1
    assert eta["mis-specified", "", 0, "null"] == pytest.approx(0, abs=1e-9)
    assert all(value <= 1 + 1e-9 for value in eta.values())
    assert 0.5 < rows["mis-specified", "", 0, "best of 16"]["own"] < 1
