"""PPO: the SFT policy, moved towards what the reward model scores high, on prompts of the train
split.
"""

from pipelines.artifacts import model_of, read_prompts_of
from pipelines.config import RunConfig
from pipelines.stage import Stage, Work
from rlhf.data.identity import Json

# Where TRL's defaults are not what decides whether it works: the policy is judged at temperature 1,
# and a response that does not end costs one standard deviation of the reward.
DEFAULTS: Json = {
    "save_steps": 10,
    "total_episodes": 2048,
    "response_length": 64,
    "temperature": 1.0,
    "missing_eos_penalty": 1.0,
}


def settings(config: RunConfig) -> Json:
    return {
        "ppo": config.ppo.model_dump(),
        "model": config.model.model_dump(exclude={"path", "chat_template"}),
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes the PPO policy, and the value model beside it."""
    from rlhf.models.conversation import fit_prompt, prompt_ids
    from rlhf.models.loading import load_tokenizer
    from rlhf.models.training import trainer_settings
    from rlhf.policy.ppo_config import PPOConfig
    from rlhf.policy.ppo_training import train_ppo
    from rlhf.policy.rollout import PromptIds

    model = work.config.model
    arguments = trainer_settings(
        work.config.ppo.trainer,
        folder=work.folder,
        seed=work.seed("ppo"),
        dtype=model.dtype,
        defaults=DEFAULTS,
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
    return {name: value for name, value in last.items() if name.startswith(("objective/", "val/"))}


STAGE = Stage(
    "ppo",
    "Align with PPO",
    ("prompts", "sft", "reward"),
    1,
    settings,
    run,
    enabled=lambda config: config.ppo.enabled,
    kind="model",
)
