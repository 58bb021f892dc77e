"""Reward models from seeds of their own, trained one after the other, with one zero and unit."""

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from accelerate import PartialState  # type: ignore[import-untyped]

from rlhf.data.jsonl import read_json
from rlhf.models.loading import load_scorer
from rlhf.reward.ensemble import Ensemble
from rlhf.reward.heads import member_seed
from rlhf.reward.normalisation import References, common_unit, rescale_head
from rlhf.reward.scorer import MEMBERS, OFFSET, SCALE, SHIFT, Scorer, member_folder
from rlhf.reward.trainer import Trained

TrainOne = Callable[[Path, int, int], Trained]


def train_seeds(
    train_one: TrainOne,
    ensemble: Ensemble,
    folder: Path,
    references: References,
    pad_token_id: int,
    *,
    seed: int,
    dtype: str,
) -> Trained:
    """Trains whole models from seeds of their own, one after the other, and gives them one zero and
    one unit. `train_one(folder, seed, member)` trains and saves one; the first lies in `folder`,
    and is a plain reward model by itself. Of several processes one gives the unit.
    """
    trained = [
        train_one(member_folder(folder, one), member_seed(seed, one), one)
        for one in range(ensemble.members)
    ]
    processes = PartialState()
    if processes.is_main_process:
        _share_one_unit(ensemble, folder, references, pad_token_id, dtype)
    processes.wait_for_everyone()
    return replace(trained[0], steps=sum(one.steps for one in trained))


def _share_one_unit(
    ensemble: Ensemble, folder: Path, references: References, pad_token_id: int, dtype: str
) -> None:
    """Gives the saved members one zero and one unit, in their folders."""
    places = [member_folder(folder, one) for one in range(ensemble.members)]
    prompts, responses = zip(*references, strict=True)
    columns = []
    for place in places:  # in log-odds, as they were before each was normalised by itself
        scorer = Scorer.load(place, pad_token_id, dtype)
        columns.append(np.array(scorer.score(prompts, responses)) * scorer.scale)
        del scorer
    _, zero, unit = common_unit(np.stack(columns, 1), ensemble)
    for place in places:
        model = load_scorer(place, pad_token_id, dtype)
        # What pads in the folder may not be what pads here: see `pad_apart_from_eos`.
        model.config.pad_token_id = read_json(place / "config.json").get("pad_token_id")
        factor = float(getattr(model.config, SCALE)) / unit
        rescale_head(model, factor)
        setattr(model.config, SHIFT, float(getattr(model.config, SHIFT)) * factor)
        setattr(model.config, SCALE, unit)
        if place == folder:
            setattr(model.config, OFFSET, zero / unit)
            setattr(model.config, MEMBERS, asdict(ensemble))
        model.save_pretrained(place)
