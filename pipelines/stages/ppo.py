"""PPO: the SFT policy, moved towards what the reward model scores high, on prompts of the train
split.
"""

from pipelines.artifacts import model_of, read_prompts_of
from pipelines.config import RunConfig
from pipelines.fitness import fitness_for_rl
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json


def settings(config: RunConfig) -> Json:
    return {
        "ppo": config.ppo.model_dump(),
        "model": config.model.model_dump(exclude={"path", "chat_template"}),
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes the PPO policy, and the value model beside it.

    Raises UnfitRewardError where the reward model is not certified to be fit for RL, unless the
    config allows that.
    """
    fitness = fitness_for_rl(work)
    from rlhf.models.conversation import fit_prompt, prompt_ids
    from rlhf.models.loading import load_tokenizer
    from rlhf.models.training import trainer_settings
    from rlhf.policy.ppo import PPOConfig, train_ppo
    from rlhf.policy.rollout import PromptIds

    model = work.config.model
    arguments = trainer_settings(
        work.config.ppo.trainer,
        folder=work.folder,
        seed=work.seed("ppo"),
        dtype=model.dtype,
        defaults={"save_steps": 10},
    )
    room = model.max_tokens - PPOConfig(**arguments).response_length
    tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
    prompts = [
        PromptIds(prompt.id, tuple(fit_prompt(prompt_ids(tokenizer, prompt.messages), room)[0]))
        for prompt in read_prompts_of(work.inputs["prompts"])
        if prompt.split == "train"
    ]
    last = train_ppo(
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
    figures = {n: value for n, value in last.items() if n.startswith(("objective/", "val/"))}
    return figures | fitness


STAGE = Stage(
    "ppo",
    "Align with PPO",
    ("prompts", "sft", "reward", "certify"),
    1,
    settings,
    run,
    enabled=lambda config: config.ppo.enabled,
    kind="model",
)
