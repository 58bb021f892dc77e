"""Pretraining of the small decoder, where no model is given."""

from pipelines.artifacts import model_of
from pipelines.config import RunConfig
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json


def settings(config: RunConfig) -> Json:
    return {
        "pretrain": config.pretrain.model_dump(),
        "context_tokens": config.model.max_tokens,
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes a model folder: a tokenizer and a decoder that have read the built-in world's
    documents.
    """
    from rlhf.models.decoder import pretrain
    from rlhf.models.training import trainer_settings
    from rlhf.simulation.world import documents

    asked = work.config.pretrain
    return pretrain(
        list(documents(asked.documents, seed=work.seed("documents"))),
        model_of(work.folder),
        trainer_settings(asked.trainer, folder=work.folder, seed=work.seed("pretrain")),
        vocab_size=asked.vocab_size,
        hidden_size=asked.hidden_size,
        num_layers=asked.num_layers,
        context_tokens=work.config.model.max_tokens,
        seed=work.seed("pretrain"),
        log=work.log,
        progress=work.progress,
    )


STAGE = Stage(
    "pretrain",
    "Pretrain the small model",
    (),
    1,
    settings,
    run,
    enabled=lambda config: config.model.path is None,
    kind="model",
)
