"""What `test_ppo_processes` runs under torchrun: PPO to its end, PPO that is told to stop and
goes on, and SFT. Each process says what it saw in `seen-RANK.pt`.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from ppo_run import Interrupt, outcome, train, trainer_in
from tiny_models import policy, quiet_arguments, save, tokenizer

from rlhf.data.identity import Json
from rlhf.policy.preemption import Preempted
from rlhf.policy.sft import answer_row, fine_tune

ROWS = [answer_row([5 + n, 6], [7 + n, 8, 1]) for n in range(8)]


def stopped_and_resumed(folder: Path, changes: Json, rank: int) -> Json:
    """The second of two processes gets the signal in the middle of a rollout."""
    cut = trainer_in(folder, changes)
    if rank == 1:
        cut.add_callback(Interrupt(10, signal.SIGTERM))
    try:
        train(cut)
    except Preempted:
        again = trainer_in(folder, changes)
        train(again)
        return {**outcome(again), "stopped": cut.state.global_step}
    return {"stopped": None}


def fine_tuned(base: Path, folder: Path, *, size: int) -> Json:
    """SFT of two steps, saved in `folder`."""
    return fine_tune(
        base,
        tokenizer(),
        ROWS,
        ROWS[:3],
        folder,
        quiet_arguments(folder, per_device_train_batch_size=size, max_steps=2, optim="sgd"),
        dtype="float64",
        lora=None,
        log=lambda _: None,
        progress=lambda *_: None,
    )


def main() -> None:
    folder, changes, base = Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
    rank = int(os.environ["RANK"])
    whole = trainer_in(folder / "whole", changes)
    train(whole)
    seen = {
        "whole": outcome(whole),
        "resumed": stopped_and_resumed(folder / "stopped", changes, rank),
        "sft": fine_tuned(base, folder / f"sft-{rank}", size=2),
    }
    torch.save(seen, folder / f"seen-{rank}.pt")


def base_model(folder: Path) -> Path:
    return save(policy(300), folder)


if __name__ == "__main__":
    main()
