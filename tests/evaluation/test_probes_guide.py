"""The probe of the guide runs as it stands there."""

import re
from pathlib import Path
from typing import Any

from probe_bench import answered, bench

from rlhf.evaluation.probes.finding import judged
from rlhf.evaluation.probes.names import BUILT_IN

GUIDE = Path(__file__).parents[2] / "docs/guides/probes.md"


def test_the_example_of_the_guide_finds_a_policy_that_shouts() -> None:
    [code] = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    held = [answered(f"{i}?", sft="Well", dpo="WELL") for i in range(3)]
    found = judged(made["TITLE"], made["probe"](bench(answered=held)), made["BOUNDS"], ["dpo"])
    assert (found["verdict"], found["value"]) == ("fail", 1.0)
    assert found["says"].startswith("DPO shouts in +100.0 points more of its answers than SFT")


def test_the_guide_names_every_probe() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert [name for name in BUILT_IN if f"| `{name}` |" not in text] == []
    assert f"probes: [{', '.join(BUILT_IN)}]" in text
