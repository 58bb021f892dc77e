"""Sampling with vLLM, in this process or on a server, on the policy's weights of now.

TRL keeps up with vLLM's versions (`trl.generation.vllm_generation`); what is ours is when weights
are pushed, which weights those are, and that the log-probs are held against the trainer's. vLLM
draws its own random numbers: a run with it is not repeated to the bit.
"""

import functools
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D
from trl.generation import vllm_generation
from trl.generation.vllm_generation import VLLMGeneration, is_vllm_available

from rlhf.models.generation import Completion
from rlhf.policy.ppo_config import PPOConfig

LAUNCHER = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@contextmanager
def launcher_kept() -> Iterator[None]:
    """The launcher's variables are afterwards what they were. An engine in this process is started
    under torchrun's; left standing, they would make the next training here a distributed one.
    """
    before = {name: os.environ[name] for name in LAUNCHER if name in os.environ}
    try:
        yield
    finally:
        for name in LAUNCHER:
            os.environ.pop(name, None)
        os.environ.update(before)


class Engine(VLLMGeneration):
    """TRL's engine, computing in `dtype`: by itself vLLM reads float32 weights in half precision.

    It is given adapters merged on copies: merging them in place and taking them out again, as TRL
    does, would round the weights of a bfloat16 base a little at every push.
    """

    def __init__(self, *arguments: Any, dtype: str, **named: Any) -> None:
        self.dtype = dtype
        super().__init__(*arguments, **named)

    def _init_vllm(self) -> None:
        if self.mode == "colocate" and not self.model.name_or_path:
            raise ValueError(
                "use_vllm starts its engine from a folder or a name on the hub, and this policy "
                "has neither: load it with from_pretrained"
            )
        plain = vllm_generation.LLM
        vllm_generation.LLM = functools.partial(plain, dtype=self.dtype)
        try:
            with launcher_kept():
                super()._init_vllm()  # type: ignore[no-untyped-call]
        finally:
            vllm_generation.LLM = plain

    def sync_weights(self) -> None:
        """Gives vLLM the policy's weights. On a CPU it keeps them packed for its kernels, which
        only its own reloading makes anew; TRL copies into the weights as they were before.
        """
        if self.mode != "colocate" or self.accelerator.device.type != "cpu":
            super().sync_weights()  # type: ignore[no-untyped-call]
            return
        runner = self.llm.llm_engine.model_executor.driver_worker.model_runner
        runner.reload_weights(weights_iterator=self._iter_named_params())
        self.llm.reset_prefix_cache()

    def _iter_named_params(self) -> Iterator[tuple[str, torch.Tensor]]:
        if not hasattr(self.model, "peft_config") or self._dist.is_fsdp:
            yield from super()._iter_named_params()  # type: ignore[no-untyped-call]
            return
        yield from merged_weights(self.model)


def merged_weights(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Every weight of a policy with LoRA adapters under the name that it has without them, the
    active adapters added; `check_adapters` says which adapters can be.
    """
    kept = [one for one in model.active_adapters if one in model.peft_config]
    adapted = {name: one for name, one in model.named_modules() if hasattr(one, "lora_A")}
    for name, weight in model.named_parameters():
        if model.prefix in name or ".original_module." in name:
            continue
        _, whole, place = name.partition(".modules_to_save.")
        if whole and place.split(".")[0] not in kept:
            continue
        owner, _, rest = name.rpartition(".base_layer.")
        value = weight.data
        if owner in adapted and rest == "weight":
            layer = adapted[owner]
            active = [one for one in layer.active_adapters if one in layer.lora_A]
            for adapter in [] if layer.disable_adapters else active:
                value = (value + layer.get_delta_weight(adapter)).to(value.dtype)
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        yield plain.replace(f"{whole}{place.split('.')[0]}", "") if whole else plain, value


def check_adapters(model: Any) -> None:
    """Raises ValueError for adapters that are more than what is added to linear layers: DoRA, IA3,
    LoRA on embeddings, prompts. The engine would be given other weights than the policy has.
    """
    from peft.tuners.lora import Linear
    from peft.tuners.tuners_utils import BaseTunerLayer

    kinds = [one.peft_type for one in getattr(model, "peft_config", {}).values()]
    odd = [f"the policy has {kind.value}" for kind in kinds if kind.value != "LORA"]
    for name, one in model.named_modules():
        if isinstance(one, BaseTunerLayer):
            linear = type(one) is Linear and type(one.base_layer) in {torch.nn.Linear, Conv1D}
            if not linear or one.lora_variant or any(one.lora_bias.values()):
                odd.append(f"{name} has {type(one).__module__}.{type(one).__name__}")
    if odd:
        raise ValueError(
            "use_vllm pushes plain LoRA on linear layers (no DoRA or other variant, no bias, no "
            f"embeddings), and {odd[0]}: train other adapters, or leave out use_vllm"
        )


def precision(args: PPOConfig, policy: Any) -> str:
    """The type in which the trainer reads the policy, as vLLM spells it."""
    if args.bf16:
        return "bfloat16"
    held = str(policy.dtype).removeprefix("torch.")
    return held if held in {"float32", "float16", "bfloat16"} else "auto"


class VLLMBackend:
    """Samples with vLLM (`PPOConfig.use_vllm`). Raises ValueError where vLLM is not installed, or
    could not be given the policy's adapters.
    """

    def __init__(
        self,
        args: PPOConfig,
        policy: Any,
        accelerator: Any,
        tokenizer: PreTrainedTokenizerBase,
        eos_token_id: int,
    ) -> None:
        if not is_vllm_available():
            raise ValueError(
                "use_vllm needs vLLM, which is not installed: pip install 'rlhf-pipeline[vllm]', "
                "or leave out use_vllm"
            )
        check_adapters(policy)
        self.eos_token_id = eos_token_id
        self.engine = Engine(
            policy,
            accelerator,
            tokenizer,
            dtype=precision(args, policy),
            mode=args.vllm_mode,
            server_base_url=args.vllm_server_base_url,
            gpu_memory_utilization=args.vllm_gpu_memory_utilization,
            enable_sleep_mode=args.vllm_enable_sleep_mode,
            max_model_length=args.vllm_max_model_length,
            temperature=args.temperature,
            max_completion_length=args.response_length,
            logprobs=0,
            # A response ends where ours do, whatever the model's generation config says.
            generation_kwargs={"stop_token_ids": [eos_token_id], "ignore_eos": True},
        )
        self._behind = True

    @torch.no_grad()
    def complete(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],  # noqa: ARG002 - vLLM draws its own
    ) -> list[Completion]:
        """One response to each prompt, with the log-probs that vLLM sampled it at."""
        if self._behind:
            self.engine.sync_weights()
            self._behind = False
        asked = [list(prompt) for prompt in prompts]
        _, drawn, logprobs, _ = self.engine.generate(asked, None, num_generations=1)
        return [
            Completion(
                tuple(ids),
                ids[-1] == self.eos_token_id,
                # TRL says None for what is no number.
                tuple(math.nan if one[0] is None else one[0] for one in said),
            )
            for ids, said in zip(drawn, logprobs, strict=True)
        ]

    def moved(self) -> None:
        """The weights are pushed before the next response."""
        self._behind = True

    def close(self) -> None:
        """Ends an engine in this process: by itself it would hold its memory to the end of that."""
        if self.engine.mode == "colocate":
            self.engine.llm.llm_engine.engine_core.shutdown()
