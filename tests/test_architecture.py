"""The house: imports flow one way, and what needs no torch imports none."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.commands.chat import POLICIES
from pipelines.graph import STAGES
from rlhf.data.policies import TRAINED
from rlhf.reporting.reading import STAGES as REPORTED

ROOT = Path(__file__).parents[1]
# Each room may import itself and those named; rlhf.models, rewards and policies know no world.
MAY_IMPORT = {
    "rlhf.data": set(),
    "rlhf.feedback": {"rlhf.data"},
    "rlhf.simulation": {"rlhf.data", "rlhf.feedback"},
    "rlhf.tracking": {"rlhf.data", "rlhf.feedback"},
    "rlhf.models": {"rlhf.data", "rlhf.feedback"},
    "rlhf.reward": {"rlhf.data", "rlhf.feedback", "rlhf.models"},
    "rlhf.policy": {"rlhf.data", "rlhf.feedback", "rlhf.models", "rlhf.reward"},
    "rlhf.evaluation": {"rlhf.data", "rlhf.feedback", "rlhf.models", "rlhf.reward", "rlhf.policy"},
    "rlhf.reporting": {"rlhf.data", "rlhf.feedback", "rlhf.tracking", "rlhf.evaluation"},
    "labeling_app": {"rlhf.data", "rlhf.feedback"},
}
TRL_USERS = {
    "rlhf/policy/dpo_trl.py",
    "rlhf/policy/rloo.py",
    "rlhf/policy/sft.py",
    "rlhf/policy/vllm_backend.py",
    "pipelines/trainer_fields.py",
}
NO_TORCH = [
    "rlhf.data.importing",
    "rlhf.data.splits",
    "rlhf.feedback.store",
    "rlhf.feedback.intake",
    "rlhf.feedback.findings",
    "rlhf.feedback.moving",
    "rlhf.feedback.quality",
    "rlhf.feedback.training_export",
    "rlhf.feedback.reliability",
    "rlhf.simulation.labelers",
    "rlhf.simulation.gold",
    "rlhf.tracking.mirror",
    "rlhf.tracking.ledger",
    "rlhf.tracking.redaction",
    "rlhf.tracking.run_folder",
    "rlhf.evaluation.overoptimisation",
    "rlhf.evaluation.suspicion",
    "rlhf.reporting.report",
    "rlhf.reporting.comparison",
    "labeling_app.server",
    "pipelines.cli",
    "pipelines.graph",
    "pipelines.runner",
    "pipelines.commands.agreement",
    "pipelines.commands.lineage",
    "pipelines.commands.withdraw",
    "pipelines.commands.run",
    "pipelines.commands.label",
    "pipelines.commands.store",
    "pipelines.commands.status",
    "pipelines.commands.chat",
    "pipelines.commands.reward",
    "pipelines.commands.certify",
    "pipelines.commands.power",
    "pipelines.commands.verdict",
    "rlhf.evaluation.comparison",
    "rlhf.evaluation.gate",
    "rlhf.evaluation.llm_judge",
    "pipelines.commands.report",
    "pipelines.commands.suspicious",
    "rlhf.reward.certificate",
    "rlhf.reward.evidence",
    "rlhf.evaluation.probes.registry",
]


def sources() -> list[Path]:
    return [p for top in ("rlhf", "labeling_app", "pipelines") for p in (ROOT / top).rglob("*.py")]


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room_of(module: str) -> str | None:
    return next(
        (room for room in MAY_IMPORT if module == room or module.startswith(room + ".")), None
    )


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_flow_one_way(room: str) -> None:
    allowed = MAY_IMPORT[room] | {room}
    for path in (ROOT / room.replace(".", "/")).rglob("*.py"):
        for module in imported(path):
            assert not module.startswith("pipelines"), f"{path} imports {module}"
            other = room_of(module)
            assert other is None or other in allowed, f"{path} imports {module}"


def test_trl_is_imported_where_it_is_driven_and_nowhere_else() -> None:
    users = set()
    for path in sources():
        modules = {m for m in imported(path) if m == "trl" or m.startswith("trl.")}
        assert not any("experimental" in m for m in modules), path
        if modules:
            users.add(path.relative_to(ROOT).as_posix())
    assert users == TRL_USERS


def test_gold_is_out_of_reach_of_training() -> None:
    judges = {"label", "evaluate"}
    stages = [f"stages/{one.name}.py" for one in STAGES if one.name not in judges]
    for stage in (*stages, "certifying.py", "fitness.py", "reward_training.py"):
        modules = imported(ROOT / "pipelines" / stage)
        assert not any("gold" in module for module in modules), stage


def test_report_and_chat_know_every_policy_that_is_trained() -> None:
    assert set(POLICIES) == {*TRAINED, "sft"}
    assert tuple(one.name for one in STAGES if one.name != "report") == REPORTED
    assert set(TRAINED) <= {one.name for one in STAGES}


def test_no_drawer_for_odds_and_ends() -> None:
    odd = {"utils.py", "helpers.py", "common.py", "base.py", "misc.py"}
    assert not [path for path in sources() if path.name in odd]


def test_these_import_no_torch() -> None:
    code = f"""
import importlib, sys
for name in {NO_TORCH!r}:
    importlib.import_module(name)
    heavy = [m for m in ("torch", "transformers", "trl", "datasets") if m in sys.modules]
    assert not heavy, (name, heavy)
assert "wandb" not in sys.modules
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr


def test_help_reads_no_config() -> None:
    code = "import sys; import pipelines.cli; assert not {'pydantic', 'yaml'} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
