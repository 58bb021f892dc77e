"""The policies of a run by name."""

TRAINED = ("dpo", "ppo", "rloo", "rejection")
# Where a reader sees them; "reference" are the SFT answers that all are compared with.
NAMES = {
    "sft": "SFT",
    "dpo": "DPO",
    "ppo": "PPO",
    "rloo": "RLOO",
    "rejection": "Rejection SFT",
    "reference": "SFT",
}


def policy_name(name: str) -> str:
    """ "longest_of_16" -> "longest of 16", "ppo" -> "PPO"."""
    return NAMES.get(name, name.replace("_", " "))
