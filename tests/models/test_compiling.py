"""`torch_compile`: layers are compiled, numbers stay, and sampling runs as it is written."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import EOS, PAD, policy, quiet_arguments
from transformers import TrainingArguments

from rlhf.models.batching import make_rows, response_logprobs
from rlhf.models.compiling import compile_layers, is_compiled, not_compiled
from rlhf.models.generation import Sampling, sample
from rlhf.models.packing import shares_prefix
from rlhf.models.training import QuietTrainer


def compiled(folder: Path, model: Any, seen: list[str]) -> TrainingArguments:
    """Compiles with a backend that notes each graph and runs it as it is."""

    def backend(graph: Any, _: Any) -> Any:
        seen.append("graph")
        return graph.forward

    args = TrainingArguments(**quiet_arguments(folder, torch_compile=True))
    args.torch_compile_backend = backend  # type: ignore[assignment]
    assert compile_layers(model, args) == 2
    return args


def test_layers_are_compiled_and_give_the_same_numbers(tmp_path: Path) -> None:
    torch._dynamo.reset()
    plain, model, seen = policy(), policy(), []  # type: ignore[var-annotated]
    args = compiled(tmp_path, model, seen)
    assert not args.torch_compile
    rows = make_rows([[5, 9, 11], [7]], [[4, 6], [8, EOS]], PAD)
    expected, found = (response_logprobs(one, rows) for one in (plain, model))
    assert seen
    assert torch.allclose(expected, found, atol=1e-12)
    expected.sum().backward()
    found.sum().backward()
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        assert one.grad is not None
        assert other.grad is not None
        assert torch.allclose(one.grad, other.grad, atol=1e-12)


def test_one_graph_serves_rows_of_every_shape(tmp_path: Path) -> None:
    torch._dynamo.reset()
    model, seen = policy(), []  # type: ignore[var-annotated]
    compiled(tmp_path, model, seen)
    for count, length in ((2, 3), (3, 5), (4, 9), (2, 7)):
        response_logprobs(model, make_rows([[5] * length] * count, [[4, 6]] * count, PAD))
    assert len(seen) == 1


def test_every_way_in_which_layers_are_called_is_compiled(tmp_path: Path) -> None:
    torch._dynamo.reset()
    model, seen = policy(), []  # type: ignore[var-annotated]
    compiled(tmp_path, model, seen)
    even, uneven = [[5, 6], [7, 8], [9, 9]], [[5, 6], [7], [9, 9, 9]]
    for prompts in (even, uneven, even[:1], [[], *uneven]):
        answers = [[4, 6]] * len(prompts)
        for way in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with way():
                response_logprobs(model, make_rows(prompts, answers, PAD))
    assert len(seen) > 8  # three shapes of call, three ways: where dynamo by itself stops


def test_sampling_and_scoring_of_kept_prompts_compile_nothing(tmp_path: Path) -> None:
    torch._dynamo.reset()
    model, seen = policy(dtype=torch.float32), []  # type: ignore[var-annotated]
    assert shares_prefix(model, 20)
    expected = sample(model, [[5, 9]], [1], Sampling(8), eos_token_id=EOS, pad_token_id=PAD)
    compiled(tmp_path, model, seen)
    assert is_compiled(model)
    assert not shares_prefix(model, 20)
    drawn = sample(model, [[5, 9]], [1], Sampling(8), eos_token_id=EOS, pad_token_id=PAD)
    with not_compiled():
        response_logprobs(model, make_rows([[5, 9]], [[4]], PAD))
    assert drawn == expected
    assert not seen


def test_a_trainer_that_is_asked_to_compile_does(tmp_path: Path) -> None:
    model = policy()
    args = TrainingArguments(**quiet_arguments(tmp_path, torch_compile_backend="eager"))
    trainer = QuietTrainer(model=model, args=args)
    assert is_compiled(model)
    assert trainer.accelerator.unwrap_model(trainer.model) is model


def test_a_model_without_layers_is_refused(tmp_path: Path) -> None:
    args = TrainingArguments(**quiet_arguments(tmp_path, torch_compile=True))
    with pytest.raises(ValueError, match="Linear has no layers that we can compile"):
        compile_layers(torch.nn.Linear(2, 2), args)
