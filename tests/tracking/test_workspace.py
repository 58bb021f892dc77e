"""The panels in W&B: as W&B's own library specifies them, and as a server on loopback gets them."""

import json
import sys
from pathlib import Path

import pytest
from wandb_scripts import wandb_script
from wandb_server import wandb_server

from pipelines.graph import STAGES
from pipelines.sections.evidence import EvaluateConfig
from rlhf.data.identity import Json
from rlhf.data.policies import TRAINED
from rlhf.tracking.workspace import POLICIES, SECTIONS, Lines, named, save, specification


def panels(spec: Json, section: str) -> list[Json]:
    sections = spec["section"]["panelBankConfig"]["sections"]
    (found,) = [one["panels"] for one in sections if one["name"] == section]
    return list(found)


def test_the_sections_follow_the_phases_and_show_what_stages_log() -> None:
    assert [section.title for section in SECTIONS] == [
        "Overview",
        "SFT",
        "Reward model and calibration",
        "PPO",
        "DPO",
        "Evaluation",
        "Costs",
    ]
    assert {stage for stage, _ in named() if stage} <= {stage.name for stage in STAGES}
    drawn = EvaluateConfig().best_of
    assert set(POLICIES) == {
        "sft",
        *TRAINED,
        *(f"best_of_{n}" for n in drawn),
        f"longest_of_{max(drawn)}",
    }
    lines = [panel for section in SECTIONS for panel in section.panels if isinstance(panel, Lines)]
    shown = [(panel.stage, name) for panel in lines for name in panel.names]
    assert len(set(shown)) == len(shown)


def test_the_specification_is_wandbs_own() -> None:
    pytest.importorskip("wandb_workspaces")
    spec = specification("rlhf", entity="team", run="quick")
    sft = panels(spec, "SFT")
    assert [
        (p["viewType"], p["config"]["chartTitle"], p["config"]["metrics"]) for p in sft[:2]
    ] == [
        ("Run History Line Plot", "Loss", ["sft/loss"]),
        ("Run History Line Plot", "Token accuracy", ["sft/mean_token_accuracy"]),
    ]
    ppo = {
        p["config"]["chartTitle"]: p["config"]["metrics"]
        for p in panels(spec, "PPO")
        if "chartTitle" in p["config"]
    }
    assert ppo["Clip fractions"] == ["policy/clipfrac_avg", "val/clipfrac_avg"]
    assert ppo["Explained variance"] == ["val/explained_variance"]
    words, won, _ = panels(spec, "Overview")
    assert "verdict" in words["config"]["value"]
    assert won["config"]["metrics"][1] == "policies.dpo.win_rate"
    table = panels(spec, "Evaluation")[-1]
    assert table["viewType"] == "Weave"
    assert '"answers"' in json.dumps(table)
    assert panels(spec, "Costs")[0]["config"]["groupBy"] == "jobType"

    (runs,) = spec["section"]["runSets"]
    (group,) = runs["filters"]["filters"]
    assert (group["key"]["name"], group["op"], group["value"]) == ("group", "=", "quick")
    assert runs["grouping"] == []
    (of_project,) = specification("rlhf")["section"]["runSets"]
    assert of_project["filters"]["filters"] == []
    assert [key["name"] for key in of_project["grouping"]] == ["group"]


def test_a_view_is_saved_for_the_group_of_a_run(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces")
    code = """
from rlhf.tracking.workspace import save
print(save("rlhf", run="quick"))
"""
    with wandb_server() as server:
        ran = wandb_script(server, tmp_path, code)
        assert ran.returncode == 0, ran.stderr
        (view,) = server.views.values()
    assert f"{server.url}/team/rlhf" in ran.stdout
    assert (view["entityName"], view["projectName"]) == ("team", "rlhf")
    assert (view["displayName"], view["type"]) == ("rlhf: quick", "project-view")
    assert len(panels(json.loads(view["spec"]), "PPO")) == 16


SAVE = """
from rlhf.tracking.workspace import save
try:
    save("rlhf", run="quick", entity="team")
except ValueError as error:
    print(error)
"""


def test_without_library_or_account_it_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "wandb_workspaces" in sys.modules or _there():
        with wandb_server() as server:
            ran = wandb_script(server, tmp_path, SAVE, account=False)
            assert ran.stdout == (
                "W&B has no account on this machine: log in with `wandb login` first\n"
            )
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(ValueError, match=r"pip install 'rlhf-pipeline\[wandb\]'"):
        save("rlhf")


@pytest.mark.slow  # W&B tries again for twenty seconds
def test_a_server_that_fails_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces")
    with wandb_server("500") as server:
        ran = wandb_script(server, tmp_path, SAVE)
    assert ran.stdout.startswith("W&B did not take the workspace: ")
    assert ran.stdout.count("\n") == 1


def _there() -> bool:
    from importlib.util import find_spec

    return find_spec("wandb_workspaces") is not None
