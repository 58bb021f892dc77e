"""Labelers as a split of their own: a reward model is measured on people whom it never saw."""

from collections.abc import Iterable

from rlhf.data.identity import seed_from


def held_out_labelers(labelers: Iterable[str], share: float, *, seed: int = 0) -> frozenset[str]:
    """Which labelers are held out of training: about `share` of them, by the hash of seed and id.

    Each labeler stands alone, so that who joins later moves nobody. At least one is left to train
    (the one with the highest hash). Raises ValueError where `share` is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"the share of held-out labelers must be in [0, 1), got {share}")
    point = {one: seed_from("held-out labeler", seed, one) / 2**63 for one in labelers}
    held = frozenset(one for one in point if point[one] < share)
    if held and len(held) == len(point):
        return held - {max(point, key=lambda one: (point[one], one))}
    return held
