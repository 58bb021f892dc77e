"""The models of the PPO benchmark: random Llamas whose responses end as often as is asked.

A constant in every embedding reaches every hidden state, so that the output row of EOS along it is
a bias: its size sets how often a response ends.
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


def write_models(
    folder: Path, *, vocab_size: int, hidden_size: int, num_layers: int, ends: float
) -> None:
    """Saves `policy` and `reward` in a folder; a response ends with probability `ends` after each
    token.
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
    reward.save_pretrained(folder / "reward")
    words = {"<pad>": PAD, "<end>": EOS} | {f"w{n}": n for n in range(2, vocab_size)}
    plain = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="<pad>", eos_token="<end>", padding_side="left"
    )
    for name in ("policy", "reward"):
        tokenizer.save_pretrained(folder / name)
