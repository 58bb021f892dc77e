"""What probing takes beside the probes: the run's models, asked about texts, and its texts."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from pipelines.artifacts import model_of, read_prompts_of, read_ranked_of
from pipelines.stage import Work
from rlhf.data.identity import Json
from rlhf.data.jsonl import read_jsonl
from rlhf.data.policies import TRAINED
from rlhf.data.records import SPLITS, Message, Prompt
from rlhf.evaluation.probes.bench import BASE, Answered, Bench, Ranked, Reply
from rlhf.models.batching import sequence_logprobs
from rlhf.models.conversation import decode, prompt_within, response_ids
from rlhf.models.generation import Sampling, sample
from rlhf.models.loading import device, eos_token_id, load_policy, load_tokenizer, pad_token_id
from rlhf.models.packing import in_batches
from rlhf.reward.scorer import Scorer

KEPT_BYTES = 8 << 30  # policies are kept in memory up to this much, and loaded again beyond it
REFERENCE = "reference"  # what the evaluation calls the SFT answers that all are compared with

Ids = tuple[int, ...]


@dataclass(slots=True)
class RunModels:
    """The run's policies and reward model; a policy is loaded when it is first asked."""

    work: Work
    tokenizer: PreTrainedTokenizerBase
    scorer: Scorer
    loaded: dict[str, PreTrainedModel] = field(default_factory=dict)

    @classmethod
    def of(cls, work: Work) -> "RunModels":
        tokenizer = load_tokenizer(model_of(work.inputs["sft"]))
        scorer = Scorer.load(
            model_of(work.inputs["reward"]), pad_token_id(tokenizer), work.config.model.dtype
        )
        return cls(work, tokenizer, scorer)

    def respond(self, policy: str, prompts: Sequence[Prompt], seeds: Sequence[int]) -> list[Reply]:
        """One answer per prompt, sampled as the evaluation samples."""
        if not prompts:
            return []
        how = self.work.config.sample
        drawn = sample(
            self._policy(policy),
            [self._asked(one, how.max_new_tokens) for one in prompts],
            seeds,
            Sampling(how.max_new_tokens, how.temperature, how.top_p),
            eos_token_id=eos_token_id(self.tokenizer),
            pad_token_id=pad_token_id(self.tokenizer),
            batch_size=how.batch_size,
        )
        return [
            Reply(decode(self.tokenizer, one.ids), len(one.ids), one.finished, one.ids)
            for one in drawn
        ]

    def reward(self, prompts: Sequence[Prompt], replies: Sequence[Reply]) -> list[float]:
        """The reward model's scores."""
        pairs = self._pairs(prompts, replies)
        return self.scorer.score([asked for asked, _ in pairs], [given for _, given in pairs])

    def nats(
        self, policy: str, prompts: Sequence[Prompt], replies: Sequence[Reply]
    ) -> list[tuple[float, int]]:
        """-log p of each reply at temperature 1, and over how many tokens."""
        pairs = self._pairs(prompts, replies)
        logprobs = in_batches(
            sequence_logprobs,
            self._policy(policy),
            [asked for asked, _ in pairs],
            [given for _, given in pairs],
            pad_token_id(self.tokenizer),
        )
        return [(-one, len(given)) for one, (_, given) in zip(logprobs, pairs, strict=True)]

    def _policy(self, name: str) -> PreTrainedModel:
        if name not in self.loaded:
            made = load_policy(model_of(self.work.inputs[name]), self.work.config.model.dtype)
            while self.loaded and _bytes(made, *self.loaded.values()) > KEPT_BYTES:
                del self.loaded[next(iter(self.loaded))]  # the one loaded first
            made.to(device())  # type: ignore[arg-type]
            self.loaded[name] = made
        return self.loaded[name]

    def _asked(self, prompt: Prompt, room_for: int) -> Ids:
        room = self.work.config.model.max_tokens - room_for
        return tuple(prompt_within(self.tokenizer, prompt.messages, room)[0])

    def _pairs(self, prompts: Sequence[Prompt], replies: Sequence[Reply]) -> list[tuple[Ids, Ids]]:
        """Ids of prompt and reply; both fit, the reply cut off on its right and the prompt on its
        left.
        """
        most = self.work.config.model.max_tokens - 1
        made = []
        for prompt, reply in zip(prompts, replies, strict=True):
            given = reply.ids or tuple(
                response_ids(self.tokenizer, reply.text, finished=reply.finished)
            )
            given = given[:most] or (eos_token_id(self.tokenizer),)
            made.append((self._asked(prompt, len(given)), given))
        return made


def bench_of(work: Work) -> Bench:
    """All that the probes of this run may ask."""
    prompts = read_prompts_of(work.inputs["prompts"])
    ranked = list(read_ranked_of(work.inputs["preferences"]))
    settings = work.config.probe
    return Bench(
        tuple(name for name in TRAINED if name in work.inputs),
        [_answered(row) for row in read_jsonl(work.inputs["evaluate"] / "answers.jsonl")],
        {split: [one for one in prompts if one.split == split] for split in SPLITS},
        {
            split: [
                Ranked(one.prompt, one.responses, one.rankings)
                for one in ranked
                if one.prompt.split == split
            ]
            for split in SPLITS
        },
        RunModels.of(work),
        work.config.seed,
        settings.limit,
        settings.verbatim_words,
        {
            "demonstrations": [
                one.demonstration for one in prompts if one.split == "train" and one.demonstration
            ],
            "ranked responses": [
                response.text
                for one in ranked
                if one.prompt.split == "train"
                for response in one.responses
            ],
        },
    )


def _answered(row: Json) -> Answered:
    answers = {BASE if name == REFERENCE else name: one for name, one in _ordered(row).items()}
    prompt = Prompt.of(
        tuple(Message.from_json(one) for one in row["prompt"]), family=row.get("family", "")
    )
    return Answered(
        prompt,
        {name: Reply(one["text"], one["tokens"], one["finished"]) for name, one in answers.items()},
        {
            name: one["gold_reward"]
            for name, one in answers.items()
            if name == BASE or not one.get("unusable", False)
        },
        {name: one["proxy_reward"] for name, one in answers.items()},
    )


def _ordered(row: Json) -> Json:
    """The answers with the reference last: its name, SFT's, then stands for it and not for SFT's
    second draw.
    """
    answers = row["answers"]
    return {**{k: v for k, v in answers.items() if k != REFERENCE}, REFERENCE: answers[REFERENCE]}


def _bytes(*models: PreTrainedModel) -> int:
    return sum(one.numel() * one.element_size() for model in models for one in model.parameters())
