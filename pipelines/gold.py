"""Preferences that a run can name: the built-in world's gold, the stories', or a function of the
user's.

Simulated labelers follow one, and the evaluation may judge by it. No training stage imports this
module.
"""

import importlib
from collections.abc import Callable
from typing import cast

from rlhf.data.records import Prompt, Response

GoldPreference = Callable[[Prompt, Response], float]


def preference_of(name: str) -> GoldPreference:
    """The preference named in a config: `built-in`, `stories` or `package.module:function`.

    Raises ValueError where there is no such function.
    """
    if name == "built-in":
        return _world
    if name == "stories":
        return _stories
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"no preference {name!r}: built-in, stories, or package.module:function")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot import the preference {name!r}: {error}") from error
    return cast("GoldPreference", found)


def _world(prompt: Prompt, response: Response) -> float:
    from rlhf.simulation.gold import judge

    return judge(prompt.text, response.text, finished=response.finished).reward


def _stories(prompt: Prompt, response: Response) -> float:  # noqa: ARG001
    from rlhf.simulation.stories import judge_story

    return judge_story(response.text, finished=response.finished)
