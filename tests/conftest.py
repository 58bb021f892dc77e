"""Offline, quiet, one thread a process: set before any test imports a library that reads these."""

import gc
import os
from collections.abc import Iterator

import pytest

# Imports make many objects and no garbage: looking for it less often takes a fifth off them.
gc.set_threshold(100_000, 50, 100)

os.environ.update(
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_DATASETS_OFFLINE="1",
    WANDB_MODE="offline",
    GRADIO_ANALYTICS_ENABLED="False",
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
)

pytest_plugins = ["postgres"]

# How long an example takes says more about the machine than about the code.
from hypothesis import settings  # noqa: E402 - after the environment is set

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(autouse=True, scope="module")
def _what_is_imported_stays() -> None:
    """Every training ends in a full garbage collection, which walks all that has been imported
    so far, longer than it trains: what is there when a file begins is set apart.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_launcher_is_left() -> Iterator[None]:
    """A test that leaves a launcher's variables fails itself: with them, every training that this
    process makes later would be a distributed one.
    """
    yield
    assert os.environ.pop("LOCAL_RANK", None) is None, "a launcher's variables were left behind"
