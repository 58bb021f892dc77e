"""PPO: the SFT policy, moved towards what the reward model scores high, on prompts of the train
split.
"""

from typing import TYPE_CHECKING

from pipelines.artifacts import model_of, read_demonstrated_of, read_prompts_of
from pipelines.config import RunConfig
from pipelines.fitness import fitness_for_rl
from pipelines.stage import Stage, Work
from pipelines.watching import watched
from rlhf.data.identity import Json

if TYPE_CHECKING:
    from rlhf.policy.ptx import PtxRows

# Where TRL's defaults are not what decides whether it works: the policy is judged at temperature 1,
# and a response that does not end costs one standard deviation of the reward.
DEFAULTS: Json = {
    "save_steps": 10,
    "total_episodes": 2048,
    "response_length": 64,
    "temperature": 1.0,
    "missing_eos_penalty": 1.0,
    "num_sample_generations": 5,
}


def settings(config: RunConfig) -> Json:
    return {
        "ppo": config.ppo.model_dump(),
        "model": config.model.of_training(),
        "seed": config.seed,
    }


def run(work: Work) -> Json:
    """Writes the PPO policy, and beside it what gives the values, and what was seen on held-out
    prompts.

    Raises UnfitRewardError where the reward model is not certified to be fit for RL, unless the
    config allows that.
    """
    fitness = fitness_for_rl(work, "ppo")
    from rlhf.models.conversation import prompts_within
    from rlhf.models.loading import load_tokenizer
    from rlhf.models.training import CHECKPOINTS, trainer_settings
    from rlhf.policy.ppo_config import PPOConfig
    from rlhf.policy.ppo_training import train_ppo
    from rlhf.policy.rewards import reward_function
    from rlhf.policy.rollout import PromptIds

    model, ppo = work.config.model, work.config.ppo
    arguments = trainer_settings(
        ppo.trainer,
        folder=work.folder,
        seed=work.seed("ppo"),
        dtype=model.dtype,
        defaults=DEFAULTS,
    )
    config = PPOConfig(**arguments)
    room = model.max_tokens - config.response_length
    tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
    prompts: dict[str, list[PromptIds]] = {}
    held = read_prompts_of(work.inputs["prompts"])
    asked, cut = prompts_within(tokenizer, (one.messages for one in held), room)
    for prompt, ids in zip(held, asked, strict=True):
        prompts.setdefault(prompt.split or "", []).append(PromptIds(prompt.id, ids))
    last, watch = train_ppo(
        model_of(work.inputs["sft"]),
        model_of(work.inputs["reward"]),
        prompts["train"],
        model_of(work.folder),
        arguments,
        dtype=model.dtype,
        lora=model.lora,
        log=watched(work, CHECKPOINTS),
        progress=work.progress,
        memory=ppo.memory,
        function=None if ppo.reward is None else reward_function(ppo.reward),
        function_alone=ppo.reward_alone,
        held_out=prompts.get("validation", [])[: ppo.held_out_prompts],
        monitor=model_of(work.inputs["monitor"]) if "monitor" in work.inputs else None,
        ptx=texts_to_mix(work) if config.ptx_coef > 0 else None,
    )
    found = {k: v for k, v in last.items() if k.startswith(("objective/", "val/"))}
    seen = {"held_out": watch.best, "alarms": watch.alarms()}
    return {**found, **seen, "prompts_cut": cut, **fitness}


def texts_to_mix(work: Work) -> "PtxRows":
    """The demonstrations of the train split, as SFT trained on them, for PPO-ptx. Raises ValueError
    where there are none.
    """
    from rlhf.models.loading import load_tokenizer
    from rlhf.policy.sft import demonstrations

    sft = work.inputs["sft"]
    found, _ = demonstrations(
        load_tokenizer(model_of(sft)),
        read_demonstrated_of(work.inputs["prompts"], sft),
        work.config.model.max_tokens,
    )
    if not found:
        raise ValueError(
            "ppo.trainer.ptx_coef mixes demonstrations in, and no prompt of the train split has "
            "one: set it to 0"
        )
    return found


STAGE = Stage(
    "ppo",
    "Align with PPO",
    ("prompts", "sft", "reward", "certify", "monitor"),
    3,
    settings,
    run,
    enabled=lambda config: config.ppo.enabled,
    kind="policy",
)
