"""Offline, quiet, one thread a process: set before any test imports a library that reads these."""

import os

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
