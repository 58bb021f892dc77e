"""DPO: the SFT policy, moved towards what the rankings of the train split prefer."""

from typing import TYPE_CHECKING

from pipelines.artifacts import model_of, read_ranked_of
from pipelines.config import RunConfig
from pipelines.labelers import read_labeler_weights_of
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json

if TYPE_CHECKING:
    from rlhf.reward.rankings import RankedPrompt

FIGURES = (
    "loss",
    "rewards/chosen",
    "rewards/rejected",
    "rewards/margins",
    "rewards/accuracies",
    "logps/chosen",
    "logps/rejected",
    "kl/from_reference",
    "nu",
)


def settings(config: RunConfig) -> Json:
    return {
        "dpo": config.dpo.settings(),
        "model": config.model.of_training(),
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes the DPO policy."""
    from pipelines.ranked import tokenise_ranked
    from rlhf.models.loading import load_tokenizer
    from rlhf.models.training import trainer_settings
    from rlhf.policy.dpo import train_dpo

    model, dpo = work.config.model, work.config.dpo
    objective = dpo.objective()
    train, _ = tokenise_ranked(
        read_ranked_of(work.inputs["preferences"], "train"),
        load_tokenizer(model_of(work.inputs["sft"])),
        model.max_tokens,
        ties=objective.ties,
        labelers=read_labeler_weights_of(work.inputs["preferences"]),
    )
    arguments = trainer_settings(
        dpo.trainer, folder=work.folder, seed=work.seed("dpo"), dtype=model.dtype
    )
    if dpo.implementation == "trl":
        last = _with_trl(work, train, arguments)
    else:
        last = train_dpo(
            model_of(work.inputs["sft"]),
            train,
            model_of(work.folder),
            arguments,
            beta=dpo.beta,
            dtype=model.dtype,
            lora=model.lora,
            log=work.log,
            progress=work.progress,
            objective=objective,
            length_normalised=dpo.length_normalised,
        )
    return {name: last[name] for name in FIGURES if name in last}


def _with_trl(work: Work, train: "list[RankedPrompt]", arguments: Json) -> Json:
    from rlhf.policy.dpo_trl import train_dpo_with_trl

    model, dpo = work.config.model, work.config.dpo
    return train_dpo_with_trl(
        model_of(work.inputs["sft"]),
        train,
        model_of(work.folder),
        arguments,
        beta=dpo.beta,
        loss_type=dpo.trl_loss_type(),
        label_smoothing=dpo.label_smoothing,
        dtype=model.dtype,
        lora=model.lora,
        log=work.log,
        progress=work.progress,
    )


STAGE = Stage(
    "dpo",
    "Align with DPO",
    ("sft", "preferences"),
    3,
    settings,
    run,
    enabled=lambda config: config.dpo.enabled,
    kind="policy",
)
