"""The built-in probes, each a module of its name in this package."""

BUILT_IN = ("bias", "safety", "length", "regression", "memorisation", "slices", "overfitting")
PACKAGE = "rlhf.evaluation.probes"
