"""Randomness that belongs to the sample: Gumbel noise that is a function of (seed, step, token).

The Gumbel-max trick turns sampling into an argmax over logits plus noise; the noise comes from an
integer hash, so a prompt gets the same answer alone or in a batch, on one process or on many.
"""

import torch


def gumbel(seeds: torch.Tensor, step: int | torch.Tensor, vocab_size: int) -> torch.Tensor:
    """Standard Gumbel noise (B, V) in float32, a function of (seed, step, token) alone.

    `seeds` (B,) int64; `step` a number or a tensor of one, on the same device. Source: Gumbel
    (1954); Maddison, Tarlow and Minka (2014), A* sampling.
    """
    tokens = torch.arange(vocab_size, device=seeds.device)
    at = step if isinstance(step, torch.Tensor) else torch.tensor(step, device=seeds.device)
    row = _mix(seeds + _mix(at + 1))  # (B,)
    bits = _mix(row[:, None] ^ (tokens * _signed(0x9E3779B97F4A7C15))[None])  # (B, V)
    uniform = bits.bitwise_right_shift_(40).bitwise_and_(0xFFFFFF).double().add_(0.5).div_(1 << 24)
    return uniform.log_().neg_().log_().float().neg_()


def _mix(value: torch.Tensor) -> torch.Tensor:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014) on int64, wrapping."""
    value = _shift(value, 30).bitwise_xor_(value).mul_(_signed(0xBF58476D1CE4E5B9))
    value = _shift(value, 27).bitwise_xor_(value).mul_(_signed(0x94D049BB133111EB))
    return _shift(value, 31).bitwise_xor_(value)


def _shift(value: torch.Tensor, bits: int) -> torch.Tensor:
    """A logical shift to the right, where torch's is arithmetic."""
    return (value >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
