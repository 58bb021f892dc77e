"""Two processes train the reward model that one trains: identity 14."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from reward_in_processes import base_model, encoder_steps, seeds, steps, uneven_steps, whole
from tiny_models import PAD, parameters

from rlhf.models.loading import load_scorer
from rlhf.reward.objective import LossName

Found = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, base: Path) -> tuple[Path, Found]:
    """What two processes made, and where."""
    folder = tmp_path_factory.mktemp("together")
    script = Path(__file__).with_name("reward_in_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ran = subprocess.run(
        [*command, "--nproc_per_node", "2", str(script), str(folder), str(base)],
        capture_output=True,
        text=True,
        timeout=240,
        env=os.environ
        | {
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join(map(str, Path(__file__).parents[:3])),
        },
    )
    assert ran.returncode == 0, ran.stderr[-4000:]
    return folder, torch.load(folder / "found.pt")


@pytest.mark.parametrize("loss", ["bradley-terry", "davidson", "plackett-luce"])
def test_five_steps_end_in_the_same_weights(
    tmp_path: Path, together: tuple[Path, Found], loss: LossName
) -> None:
    alone = steps(tmp_path, loss, size=4, accumulation=1)
    assert torch.allclose(together[1][loss], alone, atol=1e-6, rtol=0)


def test_so_does_an_encoder(tmp_path: Path, together: tuple[Path, Found]) -> None:
    alone = encoder_steps(tmp_path, size=4)
    assert torch.allclose(together[1]["encoder"], alone, atol=1e-6, rtol=0)


def test_an_epoch_that_does_not_divide_counts_each_prompt_once(
    tmp_path: Path, together: tuple[Path, Found]
) -> None:
    alone = uneven_steps(tmp_path, size=4)
    assert torch.allclose(together[1]["uneven"], alone, atol=1e-6, rtol=0)


def test_one_process_gives_members_their_unit(
    tmp_path: Path, base: Path, together: tuple[Path, Found]
) -> None:
    alone = seeds(tmp_path, base, size=4)
    assert torch.allclose(together[1]["seeds"], alone, atol=1e-4, rtol=0)


def test_so_do_micro_batches_and_prompts_that_are_read_apart(
    tmp_path: Path, together: tuple[Path, Found]
) -> None:
    alone = steps(tmp_path, "bradley-terry", size=4, accumulation=1)
    one_by_one = steps(tmp_path / "1", "bradley-terry", size=1, accumulation=4)
    for found in (together[1]["accumulated"], together[1]["apart"], one_by_one):
        assert torch.allclose(found, alone, atol=1e-6, rtol=0)


def test_evaluation_is_over_all_prompts_once_and_one_process_saves(
    tmp_path: Path, base: Path, together: tuple[Path, Found]
) -> None:
    folder, found = together
    alone = torch.tensor(whole(tmp_path, base, size=4), dtype=torch.float64)
    assert torch.allclose(found["evaluations"], alone, atol=1e-5)
    one, two = (load_scorer(path / "model", PAD) for path in (tmp_path, folder / "f"))
    assert torch.allclose(parameters(one), parameters(two), atol=1e-4)
    assert one.config.reward_shift == pytest.approx(two.config.reward_shift, abs=1e-3)
