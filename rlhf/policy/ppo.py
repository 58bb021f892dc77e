"""PPO against a learned reward, on `transformers.Trainer`.

A dataloader batch of prompts becomes a rollout; the rollout is buffered and consumed in real
mini-batches over `num_ppo_epochs`; every mini-batch is one optimizer step of the Trainer, which
brings clipping, schedules, logging and checkpoints. Stiennon et al. (2020); Ouyang et al. (2022),
appendix C.
"""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.trainer_callback import ProgressCallback

from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.models.chunks import chunks
from rlhf.models.generation import Sampling
from rlhf.models.loading import without_dropout
from rlhf.policy.backends import Backend
from rlhf.policy.checkpoints import KeptTrainer
from rlhf.policy.held_out import HeldOut, Watch, conversations_of, evaluate, what_is_no_number
from rlhf.policy.kl import KLController
from rlhf.policy.memory import explain_out_of_memory, is_out_of_memory
from rlhf.policy.phases import Clock
from rlhf.policy.ppo_batches import RolloutBatches, check_prompts, mini_batch, prompts_from
from rlhf.policy.ppo_config import COMPUTED, PPOConfig
from rlhf.policy.ppo_loss import ppo_loss, update_numbers
from rlhf.policy.ppo_models import trained_state
from rlhf.policy.ppo_setup import (
    check_readers,
    check_texts,
    context_of,
    frozen_models,
    held_out_of,
    models_of,
    reference_of,
)
from rlhf.policy.preemption import Preempted, Savings
from rlhf.policy.processes import Processes
from rlhf.policy.ptx import PtxRows, ptx_batch, ptx_loss
from rlhf.policy.rewards import RewardFunction, Rewards, padding_within, rewards_of
from rlhf.policy.rollout import Roller, Rollout, Shaping, rollout_numbers, shape, what_is_wrong
from rlhf.policy.training_log import Averages, Pace

SAMPLES = "samples.jsonl"
BEST = "best.pt"
__all__ = ["PPOConfig", "PPOTrainer"]

log = logging.getLogger(__name__)


class PPOTrainer(KeptTrainer):
    """PPO with the arguments of TRL 1.12's `PPOTrainer`, and some of ours.

    `reward_model`: a classifier, or anything with `score(prompts, responses)` on token ids;
    `reward_function(prompts, responses)` on texts is added to it, or stands alone.
    `value_model`: a classifier that scores every token; None puts a value head on the policy.
    `model` may be an `ActorCritic` that brings its values along. `ref_model` None: the policy
    without its adapters, or a frozen copy of it. `held_out` (or `eval_dataset`) are prompts to
    evaluate on, `num_sample_generations` times over the training.
    """

    def __init__(
        self,
        args: PPOConfig,
        processing_class: PreTrainedTokenizerBase,
        model: Any = None,
        ref_model: Any = None,
        reward_model: Any = None,
        train_dataset: Any = None,
        value_model: Any = None,
        data_collator: Any = None,
        eval_dataset: Any = None,
        optimizers: tuple[Any, Any] = (None, None),
        callbacks: list[Any] | None = None,
        peft_config: Any = None,
        *,
        reward_function: RewardFunction | None = None,
        reward_processing_class: PreTrainedTokenizerBase | None = None,
        ptx_dataset: PtxRows | None = None,
        held_out: HeldOut | None = None,
    ) -> None:
        if train_dataset is None:
            raise ValueError("train_dataset is missing: give the prompts to train on")
        if (args.ptx_coef > 0) != bool(ptx_dataset):
            raise ValueError("ptx_coef and ptx_dataset go together: give both or neither")
        self.config = args
        self.ptx_dataset = ptx_dataset
        self.prompts = prompts_from(
            train_dataset,
            processing_class,
            collator=data_collator,
            processes=args.dataset_num_proc,
        )
        self.held_out = held_out_of(
            held_out,
            eval_dataset,
            processing_class,
            data_collator,
            reward_processing_class,
            args.stop_token_id,
        )
        self.tokenizer_of_policy = processing_class
        models, reward_model = models_of(
            args, processing_class, model, value_model, reward_model, reward_function, peft_config
        )
        self.ref_model = reference_of(models, ref_model, processing_class)
        self._check_texts(models.policy)
        self.rollouts = args.rollouts(len(self.prompts))
        super().__init__(
            model=models,
            args=self._inner(args),
            train_dataset=self.prompts,
            data_collator=list,
            callbacks=callbacks,
            optimizers=optimizers,
        )
        if not args.disable_tqdm:
            self.add_callback(ProgressCallback)
        self.processes = Processes(self.args.world_size, self.args.process_index)
        # The processes sum their gradients themselves (`training_step`): DDP would need one
        # forward and one backward a step.
        self.accelerator.prepare_model = functools.partial(
            self.accelerator.prepare_model, evaluation_mode=True
        )
        rewards = rewards_of(
            reward_model,
            reward_function,
            processing_class,
            reward_processing_class,
            args.stop_token_id,
            conversations_of(self.prompts, self.held_out),
        )
        monitor = None if self.held_out is None else self.held_out.monitor
        check_readers(self.longest, models, self.ref_model, rewards, monitor)
        for frozen in frozen_models(self.ref_model, rewards, monitor, models):
            without_dropout(frozen).eval().requires_grad_(False).to(self.args.device)
        self.roller = self._roller(processing_class, rewards)
        self.controller = KLController(args.kl_coef, args.kl_target, args.kl_horizon)
        self.watch = Watch()
        self.savings = Savings(args.save_minutes, args.updates_per_rollout, self.processes)
        self.add_callback(self.savings)
        self.averages = Averages()
        self._rollout: Rollout | None = None
        self._ended = False
        self.pace = Pace(self.roller.clock)

    def _check_texts(self, policy: Any) -> None:
        args = self.config
        known = policy.config.get_text_config().vocab_size
        bounds = (args.response_length, context_of(policy, args), known)
        check_prompts(self.prompts, *bounds)
        if self.held_out is not None:
            check_prompts(self.held_out.prompts, *bounds, "held-out prompts")
        check_texts(self.ptx_dataset or (), policy, known)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt with the longest response to it, evaluations too."""
        asked = [*self.prompts, *(() if self.held_out is None else self.held_out.prompts)]
        return max(len(one.ids) for one in asked) + self.config.response_length

    def _inner(self, args: PPOConfig) -> PPOConfig:
        """What the Trainer is told: it counts optimizer steps, one a mini-batch; micro-batches are
        made in `training_step`.
        """
        changes: Json = {
            "gradient_accumulation_steps": 1,
            "per_device_train_batch_size": args.local_batch_size,
            **args.in_updates(self.rollouts),
            "logging_first_step": False,
            "eval_strategy": "no",  # `_evaluation_due` says when
            "eval_on_start": False,
            "remove_unused_columns": False,
            **dict.fromkeys(COMPUTED),
        }
        inner = replace(args, **changes)
        inner.max_steps = self.rollouts * args.updates_per_rollout  # nobody else may set it
        return inner

    def _roller(self, tokenizer: PreTrainedTokenizerBase, rewards: Rewards) -> Roller:
        args = self.config
        end = args.stop_token_id
        if end is None:
            end = tokenizer.eos_token_id
        if not isinstance(end, int):
            raise ValueError(
                "the tokenizer has no EOS, so no response could end: give stop_token_id"
            )
        known = self.trained.policy.config.get_text_config().vocab_size
        if not 0 <= end < known:
            raise ValueError(
                f"responses are to end with the token {end}, which is none of the {known} that the "
                "policy knows: give stop_token_id, or resize the policy's embeddings"
            )
        return Roller(
            rewards=rewards,
            reference=self.ref_model,
            sampling=Sampling(args.response_length, args.temperature),
            seed=args.seed,
            eos_token_id=end,
            pad_token_id=padding_within(tokenizer.pad_token_id, known),
            batch_size=args.local_rollout_forward_batch_size,
            processes=self.processes,
            clock=Clock(),
            autocast=self.accelerator.autocast,
            backend=self._backend(tokenizer, end),
        )

    def _backend(self, tokenizer: PreTrainedTokenizerBase, eos_token_id: int) -> Backend | None:
        """What samples in the policy's place, where the config asks for it."""
        if not self.config.use_vllm:
            return None
        from rlhf.policy.vllm_backend import VLLMBackend

        return VLLMBackend(
            self.config, self.trained.policy, self.accelerator, tokenizer, eos_token_id
        )

    def shaping(self) -> Shaping:
        """How scores become advantages in the rollout that comes next."""
        args = self.config
        return Shaping(
            kl_coef=self.controller.coef,
            gamma=args.gamma,
            lam=args.lam,
            kl_estimator=args.kl_estimator,
            reward_clip=args.reward_clip,
            missing_eos_penalty=args.missing_eos_penalty or 0.0,
            length_penalty=args.length_penalty,
            whiten_rewards=args.whiten_rewards,
            whiten_advantages=args.whiten_advantages,
        )

    def get_train_dataloader(self) -> Any:
        """Every process gets every batch whole and takes its part of the prompts in it."""
        batches = RolloutBatches(
            len(self.prompts),
            self.config.rollout_size,
            self.config.updates_per_rollout,
            self.rollouts,
            self.config.seed,
        )
        prompts: Any = self.prompts
        return torch.utils.data.DataLoader(prompts, batch_sampler=batches, collate_fn=list)

    def train(self, *arguments: Any, **named: Any) -> Any:
        """Trains to the end; after SIGTERM to the end of the rollout, and then ends the process
        with code 143 and a checkpoint. An error between two rollouts, of a reward function say,
        leaves a checkpoint too.
        """
        self.processes.start_alike(self.trained)
        self.pace = Pace(self.roller.clock)
        try:
            return self._train(*arguments, **named)
        except Exception as error:
            saved = self._saved_between() if self.args.should_save else ""
            if isinstance(error, RuntimeError) and is_out_of_memory(error):
                raise explain_out_of_memory(
                    self.config, self.trained, self.longest, saved
                ) from error
            if saved:
                error.add_note(f"PPO stopped{saved}")
            raise

    def _train(self, *arguments: Any, **named: Any) -> Any:
        with self.savings.watching():
            found = super().train(*arguments, **named)
        if self.savings.stopped:
            step, folder = self.state.global_step, str(self.args.output_dir)
            raise Preempted(step, folder, says=self.args.should_save)
        if self.held_out is not None and self.config.num_sample_generations > 0:
            self._between = self._steered()
            self._evaluate_policy(self.rollouts)
            self.log({})
        return found

    def close(self) -> None:
        """Gives back the memory of an engine that samples in this process (`use_vllm`), which can
        be asked for no more responses then.
        """
        if self.roller.backend is not None:
            self.roller.backend.close()

    def training_step(
        self,
        model: Any,
        inputs: Any,
        num_items_in_batch: Any = None,  # noqa: ARG002
    ) -> torch.Tensor:
        """One mini-batch: a new rollout where the last is used up, then forward and backward in
        micro-batches.
        """
        model.train()
        self.pace.begin(self._episode())
        number, update = divmod(self.state.global_step, self.config.updates_per_rollout)
        inner = self.accelerator.unwrap_model(model)
        if update == 0 or self._rollout is None:
            self._between = self._steered() if update == 0 else None
            self._begin(inner, inputs, number)
        if self._ended:
            self.averages.note({"policy/updates_skipped": 1.0})
            return torch.zeros((), device=self.args.device)
        if self.roller.backend is not None:
            self.roller.backend.moved()
        with self.roller.clock("update"):
            loss = self._update(inner, number, update)
        self._between = None  # the optimizer comes next
        return loss

    def _begin(self, model: Any, prompts: Sequence[Any], number: int) -> None:
        """Makes rollout `number`; before it, evaluates on held-out prompts where that is due."""
        if self._evaluation_due(number):
            self._evaluate_policy(number)
        self._ended = False
        shaping = self.shaping()
        self._rollout = rollout = shape(self.roller.roll(model, prompts, number), shaping)
        self._check(rollout, number)
        numbers = rollout_numbers(rollout, shaping.kl_coef, self.roller.eos_token_id)
        self.averages.note(numbers | self.roller.agreement.numbers)
        self.controller.update(numbers["objective/kl_k1"], len(prompts))

    def _check(self, rollout: Rollout, number: int) -> None:
        """Stops on what no update may see. The weights are still those of the end of the last
        rollout, and are saved first.
        """
        wrong = what_is_wrong(rollout, self.config.kl_limit)
        wrong = wrong or self.roller.agreement.too_far(self.config.vllm_logprob_gap_limit)
        if wrong is None:
            return
        raise FloatingPointError(f"rollout {number}: {wrong}{self._saved_between()}")

    def _update(self, model: Any, number: int, update: int) -> torch.Tensor:
        assert self._rollout is not None
        rollout, config = self._rollout, self.config
        epoch, part = divmod(update, config.updates_per_pass)
        chosen = mini_batch(
            config.seed, number, epoch, part, config.updates_per_pass, config.rollout_size
        ).to(self.args.device)
        tokens = rollout.rows.response_mask[chosen].sum()
        lengths = rollout.rows.attention_mask.sum(1)
        mine = self.processes.share(chosen[lengths[chosen].sort(stable=True).indices])
        total: Any = 0.0
        sums: Any = 0.0
        for micro in chunks(lengths[mine].tolist(), rows=config.per_device_train_batch_size):
            loss, found = self._loss(model, rollout[mine[micro]].trimmed(), tokens)
            self.accelerator.backward(loss)
            total = total + loss.detach()
            sums = sums + found
        if self.ptx_dataset:
            total = total + self._ptx(model, len(chosen))
        self.processes.sum_gradients(model)
        total = self.processes.summed(total)
        numbers = update_numbers(self.processes.summed(sums), float(tokens))
        if config.target_kl is not None and numbers["policy/kl_k3"] > config.target_kl:
            # Without gradients the optimizer leaves the weights as they are.
            model.zero_grad(set_to_none=True)
            self._ended = True
        elif torch.isinf(total):  # the Trainer would log the mean of the losses before it
            raise FloatingPointError(
                f"an update's loss is {float(total)}: set reward_clip, or lower learning_rate"
            )
        self.averages.note({**numbers, "policy/updates_skipped": float(self._ended)})
        return total  # type: ignore[no-any-return]

    def _loss(
        self, model: Any, batch: Rollout, tokens: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A micro-batch's share of the mini-batch's loss, and the sums to report."""
        with self.accelerator.autocast():
            bonus = self.config.entropy_coef > 0
            read = model.read(batch.rows, self.config.temperature, bonus=bonus)
        return ppo_loss(read, batch, tokens, self.config)

    def _ptx(self, model: Any, episodes: int) -> torch.Tensor:
        """Backward of ptx_coef times the mean loss a token on as many texts as there are
        episodes.
        """
        assert self.ptx_dataset is not None
        rows = ptx_batch(self.ptx_dataset, episodes, self.config.seed, self.state.global_step)
        scale = self.config.ptx_coef / sum(len(response) for _, response in rows)
        mine = rows[self.processes.index :: self.processes.count]
        size = self.config.per_device_train_batch_size
        total: Any = 0.0
        for start in range(0, len(mine), size):
            with self.accelerator.autocast():
                part = ptx_loss(model.policy, mine[start : start + size], self.roller.pad_token_id)
            self.accelerator.backward(scale * part)
            total = total + scale * part.detach()
        return total  # type: ignore[no-any-return]

    def _evaluation_due(self, number: int) -> bool:
        """Whether rollout `number` is one of those before which the policy is evaluated."""
        times = self.config.num_sample_generations
        if self.held_out is None or times == 0:
            return False
        return number % max(1, self.rollouts // times) == 0

    def _evaluate_policy(self, number: int) -> None:
        assert self.held_out is not None
        with self.roller.clock("evaluate"):
            numbers, samples = evaluate(
                self.trained, self.roller, self.held_out, self.tokenizer_of_policy
            )
        wrong = what_is_no_number(numbers)
        if wrong is not None:
            raise FloatingPointError(f"after {number} rollouts: {wrong}{self._saved_between()}")
        better = self.watch.take(number * self.config.rollout_size, numbers, samples)
        self.averages.note(numbers)
        if not self.args.should_save:
            return
        folder = Path(self.args.output_dir or ".")
        folder.mkdir(parents=True, exist_ok=True)
        write_jsonl(folder / SAMPLES, self.watch.samples)
        if better:
            torch.save(trained_state(self.trained), folder / BEST)
        for said in self.watch.alarms():
            log.warning("PPO after %d rollouts: %s.", number, said)

    def generate_completions(self, sampling: bool = False) -> list[Json]:
        """Answers to the prompts of the eval data set with their scores (`query`,
        `model response`, `score`); with `sampling`, to the first few of them.
        """
        if self.held_out is None:
            return []
        prompts = self.held_out.prompts
        few = self.config.per_device_eval_batch_size if sampling else len(prompts)
        asked = HeldOut(prompts[:few], self.held_out.monitor)
        return evaluate(self.trained, self.roller, asked, self.tokenizer_of_policy, kept=few)[1]

    def _episode(self) -> int:
        """Episodes of the rollouts that are used up."""
        used = self.state.global_step // self.config.updates_per_rollout
        return int(used * self.config.rollout_size)

    def log(self, logs: dict[str, float], *arguments: Any, **named: Any) -> None:
        means = self.averages.taken()
        if "loss" in logs:
            means |= self.pace.taken(self._episode(), means["objective/response_tokens"])
            means["lr"] = self._get_learning_rate()
        super().log({**logs, **means}, *arguments, **named)
