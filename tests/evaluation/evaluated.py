"""What the stages of a run found, by hand: all of it passes; and how to change a part of it."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from rlhf.data.identity import Json

Results = dict[str, Json]


def row(rate: float, low: float, high: float, **changes: Any) -> Json:
    return {
        "win_rate": rate,
        "win_rate_low": low,
        "win_rate_high": high,
        "unusable": 0,
        "p_holm": 0.001,
        "length_controlled": {"rate": rate, "low": low, "high": high, "effect": 0.1},
        "proxy_win_rate": rate,
        "proxy_win_rate_low": low,
        "mean_tokens": 30.0,
        "finished_share": 0.99,
        "kl": 2.0,
        **changes,
    }


RESULTS: Results = {
    "ppo": {"alarms": []},
    "evaluate": {
        "judge": "endpoint:judge-1",
        "judge_independent": True,
        "judge_told": {"model": "judge-1", "comparisons": 800, "inconsistent": 80, "unusable": 0},
        "prompts": 200,
        "policies": {
            "sft": row(0.5, 0.43, 0.57),
            "longest_of_16": row(0.44, 0.38, 0.51),
            "null": row(0.05, 0.03, 0.09),
            "dpo": row(0.70, 0.63, 0.76),
            "ppo": row(0.66, 0.59, 0.72),
        },
        "differences": [
            {"first": "dpo", "second": "ppo", "value": 0.04, "low": -0.02, "high": 0.1},
        ],
        "best": "dpo",
    },
    "probe": {
        "probes": {"bias": {"verdict": "ok", "says": "fine"}},
        "contamination": {"verdict": "ok", "value": 0.0},
    },
}


def results(change: Callable[[Results], object] = lambda _: None) -> Results:
    found = deepcopy(RESULTS)
    change(found)
    return found


def dpo(**changes: Any) -> Callable[[Results], object]:
    return lambda found: found["evaluate"]["policies"]["dpo"].update(changes)


def named(name: str, **changes: Any) -> Callable[[Results], object]:
    return lambda found: found["evaluate"]["policies"][name].update(changes)


def evaluated(**changes: Any) -> Callable[[Results], object]:
    return lambda found: found["evaluate"].update(changes)


def equal(rate: float, low: float, high: float) -> Json:
    return {"rate": rate, "low": low, "high": high, "effect": 2.0}


def probes(**rows: Json) -> Callable[[Results], object]:
    return lambda found: found["probe"]["probes"].update(rows)


PEOPLE: Json = {
    "judgements": 90,
    "best": "ppo",
    "policies": {
        "ppo": {
            "rate": 0.7,
            "low": 0.55,
            "high": 0.82,
            "wins": 25,
            "ties": 6,
            "losses": 9,
            "length_controlled": equal(0.68, 0.53, 0.8),
            "sequential": {"wins": 25, "losses": 9, "low": 0.52, "high": 0.87},
        }
    },
}
