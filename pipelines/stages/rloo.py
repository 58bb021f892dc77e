"""RLOO: the SFT policy, moved towards what the reward model scores high, by TRL's trainer."""

from pipelines.artifacts import model_of, read_prompts_of
from pipelines.config import RunConfig
from pipelines.fitness import fitness_for_rl
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json

# TRL's own length of completions would fill the whole of a small model's context.
DEFAULTS: Json = {"num_generations": 4, "max_completion_length": 64, "top_k": 0}


def settings(config: RunConfig) -> Json:
    return {
        "rloo": config.rloo.model_dump(),
        "model": config.model.model_dump(exclude={"path", "chat_template"}),
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes the RLOO policy.

    Raises UnfitRewardError where the reward model is not certified to be fit for RL, unless the
    config allows that.
    """
    fitness = fitness_for_rl(work, "rloo")
    from rlhf.models.conversation import prompts_within
    from rlhf.models.loading import load_tokenizer
    from rlhf.models.training import trainer_settings
    from rlhf.policy.rloo import train_rloo
    from rlhf.policy.rollout import PromptIds

    model = work.config.model
    arguments = trainer_settings(
        work.config.rloo.trainer,
        folder=work.folder,
        seed=work.seed("rloo"),
        dtype=model.dtype,
        defaults=DEFAULTS,
    )
    room = model.max_tokens - arguments["max_completion_length"]
    if room < 1:
        raise ValueError(
            f"rloo.trainer.max_completion_length ({arguments['max_completion_length']}) leaves no "
            f"room for a prompt in model.max_tokens ({model.max_tokens})"
        )
    tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
    held = [one for one in read_prompts_of(work.inputs["prompts"]) if one.split == "train"]
    asked, cut = prompts_within(tokenizer, (one.messages for one in held), room)
    prompts = [PromptIds(one.id, ids) for one, ids in zip(held, asked, strict=True)]
    last = train_rloo(
        model_of(work.inputs["sft"]),
        model_of(work.inputs["reward"]),
        prompts,
        model_of(work.folder),
        arguments,
        dtype=model.dtype,
        lora=model.lora,
        log=work.log,
        progress=work.progress,
    )
    names = ("reward", "reward_std", "kl", "completions/mean_length", "completions/clipped_ratio")
    found = {name: last[name] for name in names if name in last}
    return {**found, "prompts_cut": cut, **fitness}


STAGE = Stage(
    "rloo",
    "Align with RLOO",
    ("prompts", "sft", "reward", "certify"),
    2,
    settings,
    run,
    enabled=lambda config: config.rloo.enabled,
    kind="policy",
)
