"""`torch_compile` of the trainer's arguments, a decoder layer at a time.

The trainers here call the parts of a model, not its `forward`, so compiling the whole, as the
Trainer would do, has no effect. Layers share one compiled graph, which is ready in seconds and
serves every length: one made for the first shape alone would be made again for the second. What
reads keys and values that were kept before (sampling, prompts read once) runs as it is written: it
would be compiled anew for each layer.
"""

from typing import Any

import torch
from transformers import TrainingArguments

ATTENTIONS = ("self_attn", "attn", "attention")
# A layer is compiled anew for each way it is called: with a gradient or without, for one row or
# several, with padding or none, first of its model or not, with each adapter and with none. dynamo
# stops at 8 and runs what comes then as it is written.
WAYS = 64


def compile_layers(model: Any, args: TrainingArguments) -> int:
    """Compiles the layers of every decoder in `model` as `args.torch_compile*` say; how many.

    Takes the request off `args` then, so that the Trainer does not compile the whole as well.
    Raises ValueError where no layers are found.
    """
    layers = [
        layer
        for module in model.modules()
        if isinstance(module, torch.nn.ModuleList)
        for layer in module
        if any(hasattr(layer, name) for name in ATTENTIONS)
    ]
    if not layers:
        raise ValueError(f"torch_compile: {type(model).__name__} has no layers that we can compile")
    limits = torch._dynamo.config
    limits.recompile_limit = max(limits.recompile_limit, WAYS)
    for layer in layers:
        layer.compile(
            backend=args.torch_compile_backend, mode=args.torch_compile_mode, dynamic=True
        )
    args.torch_compile = False
    args.torch_compile_backend = args.torch_compile_mode = None
    return len(layers)


def is_compiled(model: Any) -> bool:
    """Whether layers of this model were compiled."""
    return any(getattr(module, "_compiled_call_impl", None) for module in model.modules())


def not_compiled() -> Any:
    """A context in which compiled layers run as they are written."""
    return torch.compiler.set_stance("force_eager")
