"""The models of the PPO benchmark: random Llamas whose responses end as often as is asked.

A constant in every embedding reaches every hidden state, so that the output row of EOS along it is
a bias: its size sets how often a response ends. The reward is random as well, or it counts words,
which a policy can learn in some tens of updates.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

PAD, EOS = 0, 1
NEVER = -60.0  # logits of a token that is not sampled
SAYS, CONSTANT, MEAN = 0, 1, 2  # what the dimensions of a reward that counts words hold
SIZE = 4.0  # of the constant: what the norms divide by is then all but the same everywhere
WORTH = 10.0  # the reward of a text of good words alone


def write_models(
    folder: Path,
    *,
    vocab_size: int,
    hidden_size: int,
    num_layers: int,
    ends: float,
    counts: bool = False,
) -> None:
    """Saves `policy` and `reward` in a folder; a response ends with probability `ends` after each
    token. With `counts`, the reward is `WORTH` times the mean over a text of 1 for each token of an
    even id and -1 for the others.
    """
    torch.manual_seed(0)
    heads = hidden_size // 32
    config = LlamaConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=hidden_size * 8 // 3 // 16 * 16,
        num_hidden_layers=num_layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=512,
        pad_token_id=PAD,
        eos_token_id=EOS,
        bos_token_id=None,
    )
    policy = LlamaForCausalLM(config)
    along = torch.ones(hidden_size)
    with torch.no_grad():
        policy.model.embed_tokens.weight[:] = torch.randn(vocab_size, hidden_size) * 0.3 + along
        policy.lm_head.weight -= policy.lm_head.weight.mean(1, keepdim=True)
        hidden = policy.model(torch.randint(2, vocab_size, (8, 32))).last_hidden_state
        reach = float(hidden.mean(-1).mean())
        for token, chance in ((PAD, 0.0), (EOS, ends)):
            bias = NEVER if chance == 0 else float(torch.tensor(chance * vocab_size).log())
            policy.lm_head.weight[token] = along * bias / (reach * hidden_size)
    policy.save_pretrained(folder / "policy")
    config.num_labels = 1
    reward = LlamaForSequenceClassification(config)
    reward.model.load_state_dict(policy.model.state_dict())
    with torch.no_grad():
        reward.score.weight.normal_(std=hidden_size**-0.5)
        if counts:
            count_words(reward)
    reward.save_pretrained(folder / "reward")
    words = {"<pad>": PAD, "<end>": EOS} | {f"w{n}": n for n in range(2, vocab_size)}
    plain = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<end>", padding_side="left"
    )
    for name in ("policy", "reward"):
        tokenizer.save_pretrained(folder / name)


@torch.no_grad()
def count_words(model: LlamaForSequenceClassification) -> None:
    """Sets a classifier's weights so that it scores as `write_models` says: the first layer attends
    to all tokens alike and writes the mean of what they say where the head reads it; the others add
    nothing.
    """
    for layer in model.model.layers:
        for part in (layer.self_attn.q_proj, layer.self_attn.o_proj, layer.mlp.down_proj):
            part.weight.zero_()
    embeddings = model.model.embed_tokens.weight
    embeddings.zero_()
    embeddings[:, SAYS] = 1.0 - 2.0 * (torch.arange(len(embeddings)) % 2)
    embeddings[:, CONSTANT] = SIZE
    first = model.model.layers[0].self_attn
    first.v_proj.weight.zero_()
    first.v_proj.weight[0, SAYS] = 1.0
    first.o_proj.weight[MEAN, 0] = 1.0
    # Both norms divide by about the same, (1 + SIZE^2) / D under the root: the first scales what
    # the layer reads, the last what the head reads.
    divisor = float(((1 + SIZE**2) / embeddings.shape[1]) ** 0.5)
    model.score.weight.zero_()
    model.score.weight[0, MEAN] = WORTH * divisor**2
