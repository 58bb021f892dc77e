"""The settings of PPO: the names that they had in TRL 1.12, and ours beside them."""

import math
import numbers
from dataclasses import dataclass, field
from typing import Literal

from transformers import TrainingArguments

from rlhf.policy.kl import ERROR_CLIP, Estimator

POSITIVE = (
    "response_length",
    "temperature",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "cliprange",
    "cliprange_value",
    "kl_horizon",
    "vllm_logprob_gap_limit",
)
POSITIVE_OR_NONE = (
    "num_ppo_epochs",
    "num_mini_batches",
    "total_episodes",
    "local_rollout_forward_batch_size",
    "target_kl",
    "kl_target",
    "reward_clip",
    "save_minutes",
    "kl_limit",
    "vllm_max_model_length",
)
NOT_NEGATIVE = (
    "kl_coef",
    "vf_coef",
    "entropy_coef",
    "ptx_coef",
    "length_penalty",
    "num_sample_generations",
)
WHOLE = (
    "response_length",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_ppo_epochs",
    "num_mini_batches",
    "local_rollout_forward_batch_size",
    "num_sample_generations",
)
# Without a bound they weigh all else down, or leave nothing but noise.
FINITE = ("temperature", *NOT_NEGATIVE)
STEPS_OF_ONE_PASS = 4  # where neither passes nor mini-batches are given
# TRL computed these over whatever was given.
COMPUTED = (
    "world_size",
    "num_total_batches",
    "micro_batch_size",
    "local_batch_size",
    "batch_size",
    "local_mini_batch_size",
    "mini_batch_size",
)


@dataclass
class PPOConfig(TrainingArguments):
    """Arguments of PPO.

    A rollout holds `per_device_train_batch_size * gradient_accumulation_steps` episodes for each
    process; it is consumed in `num_mini_batches` optimizer steps per epoch, each in forward passes
    of `per_device_train_batch_size`. Without either setting these are four steps in one pass:
    most of what four passes of one step learn, for a quarter of their work (`docs/benchmarks.md`);
    where `num_ppo_epochs` is given, a pass is one step, as it was in TRL. `total_episodes` sets the
    length of the training, by default `num_train_epochs` times the prompts; `save_steps`,
    `logging_steps` and `warmup_steps` count rollouts.
    """

    learning_rate: float = field(default=3e-6, metadata={"help": "Of AdamW."})
    logging_steps: float = field(default=1, metadata={"help": "Rollouts between two logs."})
    dataset_num_proc: int | None = field(
        default=None, metadata={"help": "Processes that tokenise a data set of texts."}
    )
    total_episodes: int | None = field(
        default=None, metadata={"help": "Responses to sample in all."}
    )
    num_ppo_epochs: int | None = field(
        default=None, metadata={"help": "Passes over each rollout; by default 1."}
    )
    num_mini_batches: int | None = field(
        default=None,
        metadata={
            "help": "Optimizer steps per pass; by default 1 where num_ppo_epochs is given, else 4 "
            "or as many as divide a rollout."
        },
    )
    local_rollout_forward_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Responses that are sampled, and rows that are read, at once in a rollout; by "
            "default 256 are sampled together and 16 rows read."
        },
    )
    num_sample_generations: int = field(
        default=10, metadata={"help": "How often samples on the eval data set are kept; 0: never."}
    )
    response_length: int = field(default=53, metadata={"help": "Longest response, in tokens."})
    stop_token: Literal["eos"] | None = field(
        default=None, metadata={"help": "`eos`; responses end there in any case."}
    )
    stop_token_id: int | None = field(
        default=None, metadata={"help": "Id that ends a response in place of EOS."}
    )
    temperature: float = field(default=0.7, metadata={"help": "Of sampling and of the loss."})
    missing_eos_penalty: float | None = field(
        default=None, metadata={"help": "Taken off the score of a response that does not end."}
    )
    length_penalty: float = field(
        default=0.0, metadata={"help": "Taken off the score for each token of the response."}
    )
    reward_clip: float | None = field(
        default=None, metadata={"help": "Scores are clipped to this size before penalties."}
    )
    sft_model_path: str | None = field(
        default=None, metadata={"help": "Policy and reference, where no `model` is given."}
    )
    reward_model_path: str | None = field(
        default=None, metadata={"help": "Reward and value model, where none are given."}
    )
    model_adapter_name: str | None = field(
        default=None, metadata={"help": "The adapter to train, where the policy has several."}
    )
    ref_adapter_name: str | None = field(
        default=None, metadata={"help": "The adapter that is the reference; else it is the base."}
    )
    whiten_rewards: bool = field(
        default=False, metadata={"help": "Scale token rewards to standard deviation 1."}
    )
    whiten_advantages: bool = field(
        default=True, metadata={"help": "Advantages with mean 0 and standard deviation 1."}
    )
    kl_coef: float = field(default=0.05, metadata={"help": "Weight of the per-token KL."})
    kl_estimator: Estimator = field(default="k1", metadata={"help": "k1 or k3."})
    kl_target: float | None = field(
        default=None, metadata={"help": "Nats a response that kl_coef is steered to; else fixed."}
    )
    kl_horizon: int = field(default=10000, metadata={"help": "Episodes over which it is steered."})
    kl_limit: float | None = field(
        default=1000.0, metadata={"help": "Nats a response at which the training is stopped."}
    )
    target_kl: float | None = field(
        default=None,
        metadata={"help": "Nats a token from the rollout at which its updates are ended."},
    )
    cliprange: float = field(default=0.2, metadata={"help": "Clip of the policy ratio."})
    cliprange_value: float = field(default=0.2, metadata={"help": "Clip of the value change."})
    vf_coef: float = field(default=0.1, metadata={"help": "Weight of the value loss."})
    entropy_coef: float = field(default=0.0, metadata={"help": "Weight of the entropy bonus."})
    ptx_coef: float = field(
        default=0.0, metadata={"help": "Weight of the log-likelihood of the ptx data set."}
    )
    gamma: float = field(default=1.0, metadata={"help": "Discount."})
    lam: float = field(default=0.95, metadata={"help": "Lambda of GAE."})
    save_minutes: float | None = field(
        default=None, metadata={"help": "Also save after so many minutes, at the next rollout."}
    )
    use_vllm: bool = field(
        default=False, metadata={"help": "Sample with vLLM, which is given the weights."}
    )
    vllm_mode: Literal["colocate", "server"] = field(
        default="colocate", metadata={"help": "In this process, or on a server beside it."}
    )
    vllm_server_base_url: str | None = field(
        default=None, metadata={"help": "Of the server; by default port 8000 of this machine."}
    )
    vllm_gpu_memory_utilization: float = field(
        default=0.3, metadata={"help": "Share of the GPU's memory for a colocated vLLM."}
    )
    vllm_enable_sleep_mode: bool = field(
        default=False, metadata={"help": "A colocated vLLM gives its memory back for updates."}
    )
    vllm_max_model_length: int | None = field(
        default=None, metadata={"help": "Prompt and response; by default the model's context."}
    )
    vllm_logprob_gap_limit: float = field(
        default=0.1,
        metadata={"help": "Mean nats a token between vLLM and the trainer that stop a training."},
    )
    ds3_gather_for_generation: bool = field(
        default=True, metadata={"help": "Of DeepSpeed ZeRO-3, which this trainer does not run on."}
    )
    world_size: int | None = field(default=None, metadata={"help": "Computed."})
    num_total_batches: int | None = field(default=None, metadata={"help": "Computed."})
    micro_batch_size: int | None = field(default=None, metadata={"help": "Computed."})
    local_batch_size: int | None = field(default=None, metadata={"help": "Computed."})
    batch_size: int | None = field(default=None, metadata={"help": "Computed."})
    local_mini_batch_size: int | None = field(default=None, metadata={"help": "Computed."})
    mini_batch_size: int | None = field(default=None, metadata={"help": "Computed."})

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[no-untyped-call]
        self._check_ranges()
        self._refuse()
        self._divide()

    def _check_ranges(self) -> None:
        for name in WHOLE:
            value = getattr(self, name)
            if value is not None and not isinstance(value, numbers.Integral):
                raise ValueError(f"{name} must be a whole number, got {value!r}")
        for name in POSITIVE + POSITIVE_OR_NONE:
            if not (name in POSITIVE_OR_NONE and getattr(self, name) is None):
                self._check_bounds(name, self._number(name) > 0, "be above 0")
        for name in NOT_NEGATIVE:
            self._check_bounds(name, self._number(name) >= 0, "not be negative")
        for name in FINITE:
            self._check_bounds(name, math.isfinite(self._number(name)), "be finite")
        for name in ("gamma", "lam"):
            self._check_bounds(name, 0 <= self._number(name) <= 1, "lie in 0 to 1")
        if self.missing_eos_penalty is not None:
            penalty = self._number("missing_eos_penalty")
            if not 0 <= penalty < math.inf:
                raise ValueError(
                    f"missing_eos_penalty is taken off the score: it must not be negative, got "
                    f"{penalty}"
                )
        if self.kl_estimator not in {"k1", "k3"}:
            raise ValueError(f"kl_estimator must be k1 or k3, got {self.kl_estimator!r}")

    def _number(self, name: str) -> float:
        """The setting of this name. Raises ValueError for what is no number: YAML reads 1e4 as a
        text.
        """
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            raise ValueError(f"{name} must be a number, got {value!r}")
        return float(value)

    def _check_bounds(self, name: str, holds: bool, bounds: str) -> None:
        if not holds:
            raise ValueError(f"{name} must {bounds}, got {getattr(self, name)}")

    def _refuse(self) -> None:
        if self.stop_token not in {None, "eos"}:
            raise ValueError(
                f"stop_token must be eos or nothing, got {self.stop_token!r}: give another token "
                "as stop_token_id"
            )
        if self.stop_token is not None and self.stop_token_id is not None:
            raise ValueError("stop_token and stop_token_id are both given: leave one out")
        if self.vllm_mode not in {"colocate", "server"}:
            raise ValueError(f"vllm_mode must be colocate or server, got {self.vllm_mode!r}")
        if not 0 < self.vllm_gpu_memory_utilization < 1:
            raise ValueError(
                "vllm_gpu_memory_utilization is a share of the GPU's memory, in 0 to 1, got "
                f"{self.vllm_gpu_memory_utilization}"
            )
        if self.vllm_mode == "colocate" and self.vllm_server_base_url is not None:
            raise ValueError("vllm_server_base_url goes with vllm_mode: server")
        if self.load_best_model_at_end:
            raise ValueError(
                "load_best_model_at_end is not supported: give `held_out` a monitor, which chooses "
                "the policy that a run keeps"
            )
        for name, found, why in (
            ("auto_find_batch_size", self.auto_find_batch_size, "starts anew on moved weights"),
            ("neftune_noise_alpha", self.neftune_noise_alpha, "would move ratios by chance"),
            ("fsdp", self.fsdp, "would cut up a policy that must be whole to sample"),
            ("enable_jit_checkpoint", self.enable_jit_checkpoint, "would save amid a rollout"),
            ("label_smoothing_factor", self.label_smoothing_factor, "is of a loss over labels"),
            (
                "lr_scheduler_type reduce_lr_on_plateau",
                self.lr_scheduler_type == "reduce_lr_on_plateau",
                "would wait for an evaluation of the Trainer's, and PPO has its own",
            ),
            ("save_strategy best", self.save_strategy == "best", "would never save"),
        ):
            if found:
                raise ValueError(f"{name} is not supported, it {why}: leave it out")
        if self.max_steps > 0:
            raise ValueError(
                f"max_steps is {self.max_steps}, and PPO counts episodes: give total_episodes"
            )
        if self.fp16:
            raise ValueError("fp16 is not supported, its ratios overflow: use bf16")
        if self.deepspeed or not self.ds3_gather_for_generation:
            raise ValueError(
                "PPO here runs on one process a device, without DeepSpeed: leave out deepspeed and "
                "ds3_gather_for_generation, and save memory with LoRA"
            )

    def _divide(self) -> None:
        """Sizes of a rollout and of its parts, over all processes."""
        processes: int = TrainingArguments.world_size.fget(self)  # type: ignore[attr-defined]
        whole = self.per_device_train_batch_size * self.gradient_accumulation_steps
        default = math.gcd(whole, STEPS_OF_ONE_PASS) if self.num_ppo_epochs is None else 1
        parts = self.num_mini_batches if self.num_mini_batches is not None else default
        if whole % parts:
            raise ValueError(
                f"a rollout of {whole} episodes (per_device_train_batch_size * "
                f"gradient_accumulation_steps) does not divide into {parts} mini-batches: change "
                "one of the three"
            )
        passes = self.num_ppo_epochs if self.num_ppo_epochs is not None else 1
        self.num_ppo_epochs, self.num_mini_batches = passes, parts
        self.updates_per_pass, self.updates_per_rollout = parts, passes * parts
        self.rollout_size = whole * processes
        if self.total_episodes is not None and self.total_episodes < self.rollout_size:
            raise ValueError(
                f"total_episodes is {self.total_episodes}, less than one rollout of "
                f"{self.rollout_size}"
            )
        if self.kl_target is not None and self.kl_horizon <= ERROR_CLIP * self.rollout_size:
            raise ValueError(
                f"kl_horizon is {self.kl_horizon}, so that one rollout of {self.rollout_size} "
                "episodes could turn the sign of kl_coef: set it to several rollouts' episodes"
            )
        computed = {
            "world_size": processes,
            "micro_batch_size": self.per_device_train_batch_size * processes,
            "local_batch_size": whole,
            "batch_size": self.rollout_size,
            "local_mini_batch_size": whole // parts,
            "mini_batch_size": self.rollout_size // parts,
        }
        for name, value in computed.items():
            self._fill(name, value)

    def _fill(self, name: str, value: int) -> None:
        if getattr(self, name) not in {None, value}:
            raise ValueError(
                f"{name} follows from the other sizes and is {value}, got {getattr(self, name)}: "
                "leave it out"
            )
        setattr(self, name, value)

    def in_updates(self, rollouts: int) -> dict[str, float]:
        """The settings that count rollouts, as counts of updates; below 1 they are shares of all
        `rollouts`, which a warm-up may stay.
        """
        each = self.updates_per_rollout
        counted: dict[str, float] = {}
        for name in ("save_steps", "logging_steps"):
            steps = getattr(self, name)
            whole = math.ceil(steps * rollouts) if steps < 1 else int(steps)
            counted[name] = max(1, whole) * each
        if self.warmup_steps >= 1:
            counted["warmup_steps"] = int(self.warmup_steps) * each
        return counted

    def rollouts(self, prompts: int) -> int:
        """How many rollouts the training makes on so many prompts."""
        episodes = self.total_episodes
        if episodes is None:
            episodes = max(math.ceil(self.num_train_epochs * prompts), self.rollout_size)
        count = int(episodes // self.rollout_size)
        self._fill("num_total_batches", count)
        return count
