"""Sampling with vLLM, in this process or on a server, on the policy's weights of now.

TRL keeps up with vLLM's versions (`trl.generation.vllm_generation`); what is ours is when weights
are pushed, which weights those are, and that the log-probs are held against the trainer's. vLLM
draws its own random numbers: a run with it is not repeated to the bit.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from trl.generation.vllm_generation import VLLMGeneration, is_vllm_available

from rlhf.models.generation import Completion
from rlhf.policy.ppo_config import PPOConfig


class Engine(VLLMGeneration):
    """TRL's engine, given adapters merged on copies: merging them in place and taking them out
    again, as TRL does, would round the weights of a bfloat16 base a little at every push.
    """

    def _iter_named_params(self) -> Iterator[tuple[str, torch.Tensor]]:
        if not hasattr(self.model, "peft_config") or self._dist.is_fsdp:
            yield from super()._iter_named_params()  # type: ignore[no-untyped-call]
            return
        yield from merged_weights(self.model)


def merged_weights(model: Any) -> Iterator[tuple[str, torch.Tensor]]:
    """Every weight of a policy with LoRA adapters under the name that it has without them, the
    active adapters added.
    """
    adapted = {name: one for name, one in model.named_modules() if hasattr(one, "lora_A")}
    for name, weight in model.named_parameters():
        if model.prefix in name or ".original_module." in name:
            continue
        owner, _, rest = name.rpartition(".base_layer.")
        value = weight.data
        if owner in adapted and rest == "weight":
            layer = adapted[owner]
            active = [one for one in layer.active_adapters if one in layer.lora_A]
            for adapter in [] if layer.disable_adapters else active:
                value = (value + layer.get_delta_weight(adapter)).to(value.dtype)
        plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
        yield plain.replace(".modules_to_save.default", ""), value


class VLLMBackend:
    """Samples with vLLM (`PPOConfig.use_vllm`). Raises ValueError where vLLM is not installed."""

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
        self.eos_token_id = eos_token_id
        self.engine = Engine(
            policy,
            accelerator,
            tokenizer,
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

    def complete(
        self,
        policy: Any,  # noqa: ARG002 - the engine has it
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],  # noqa: ARG002 - vLLM draws its own
    ) -> list[Completion]:
        """One response to each prompt, with the log-probs that vLLM sampled it at."""
        if self._behind:
            self.engine.sync_weights()  # type: ignore[no-untyped-call]
            self._behind = False
        asked = [list(prompt) for prompt in prompts]
        _, drawn, logprobs, _ = self.engine.generate(asked, None, num_generations=1)
        return [
            Completion(tuple(ids), ids[-1] == self.eos_token_id, tuple(one[0] for one in said))
            for ids, said in zip(drawn, logprobs, strict=True)
        ]

    def moved(self) -> None:
        """The weights are pushed before the next response."""
        self._behind = True
