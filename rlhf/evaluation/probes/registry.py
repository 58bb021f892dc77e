"""Probes by name: the built-in ones, and any module of a user's that has a `probe` function."""

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rlhf.evaluation.probes.bench import Bench
from rlhf.evaluation.probes.bounds import Bound, bounds_of
from rlhf.evaluation.probes.finding import Finding
from rlhf.evaluation.probes.names import BUILT_IN, PACKAGE


@dataclass(frozen=True, slots=True)
class Probe:
    """A question to every policy. `ask` gives a finding per policy, or raises
    NothingToProbeError.
    """

    name: str
    title: str
    bounds: tuple[Bound, ...]
    ask: Callable[[Bench], Mapping[str, Finding]]


def probe_named(name: str) -> Probe:
    """A built-in probe, or that of a module named as `package.module`.

    Raises ValueError in one sentence where there is none, or it lacks a part.
    """
    try:
        module = importlib.import_module(_module_of(name))
    except ImportError as error:
        raise ValueError(_unknown(name, str(error))) from error
    ask = getattr(module, "probe", None)
    title = getattr(module, "TITLE", None)
    if not callable(ask) or not isinstance(title, str):
        raise ValueError(f"the probe {name!r} needs a text TITLE and a function probe(bench)")
    bounds = bounds_of(name) if name in BUILT_IN else getattr(module, "BOUNDS", ())
    if not bounds or not all(isinstance(bound, Bound) for bound in bounds):
        raise ValueError(f"the probe {name!r} needs BOUNDS, a tuple of Bound: one for each figure")
    return Probe(name, title, tuple(bounds), ask)


def source_of(name: str) -> Path | None:
    """The file of a probe, so that a changed probe is another result; None where it has none."""
    try:
        found = importlib.util.find_spec(_module_of(name))
    except ImportError as error:
        raise ValueError(_unknown(name, str(error))) from error
    if found is None:
        raise ValueError(_unknown(name, "no such module"))
    return None if found.origin is None else Path(found.origin)


def _module_of(name: str) -> str:
    return f"{PACKAGE}.{name}" if name in BUILT_IN else name


def _unknown(name: str, why: str) -> str:
    return (
        f"no probe {name!r} ({why}): choose from {', '.join(BUILT_IN)}, or name a module of yours "
        "as package.module"
    )
