"""DPO: the SFT policy, moved towards what the rankings of the train split prefer."""

from pipelines.artifacts import model_of, read_ranked_of
from pipelines.config import RunConfig
from pipelines.labelers import read_labeler_weights_of
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json


def settings(config: RunConfig) -> Json:
    return {
        "dpo": config.dpo.model_dump(),
        "model": config.model.model_dump(exclude={"path", "chat_template"}),
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes the DPO policy."""
    from pipelines.ranked import tokenise_ranked
    from rlhf.models.loading import load_tokenizer
    from rlhf.models.training import trainer_settings
    from rlhf.policy.dpo import train_dpo

    model = work.config.model
    train, _ = tokenise_ranked(
        read_ranked_of(work.inputs["preferences"], "train"),
        load_tokenizer(model_of(work.inputs["sft"])),
        model.max_tokens,
        labelers=read_labeler_weights_of(work.inputs["preferences"]),
    )
    last = train_dpo(
        model_of(work.inputs["sft"]),
        train,
        model_of(work.folder),
        trainer_settings(
            work.config.dpo.trainer, folder=work.folder, seed=work.seed("dpo"), dtype=model.dtype
        ),
        beta=work.config.dpo.beta,
        dtype=model.dtype,
        lora=model.lora,
        log=work.log,
        progress=work.progress,
    )
    names = ("loss", "rewards/margins", "rewards/accuracies", "logps/chosen", "logps/rejected")
    return {name: last[name] for name in names if name in last}


STAGE = Stage(
    "dpo",
    "Align with DPO",
    ("sft", "preferences"),
    3,
    settings,
    run,
    enabled=lambda config: config.dpo.enabled,
    kind="model",
)
