"""What the mirror wrote, as W&B's own reader of logs (`wandb leet inspect`) understands it."""

import json
import subprocess
import sys
from pathlib import Path

import wandb_reader as reader
from wandb_scripts import stage_folder

from rlhf.data.identity import Json
from rlhf.tracking.alerts import Alert
from rlhf.tracking.mirror import WandbSettings, open_mirror
from rlhf.tracking.wandb_log import read_records, write_records


def inspected(log: Path, *words: str) -> str:
    ran = subprocess.run(
        [sys.executable, "-m", "wandb", "leet", "inspect", "--json", *words, str(log)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return ran.stdout


def test_a_stage_reads_as_it_was_logged_also_after_sync_made_it_ready(tmp_path: Path) -> None:
    prompts = stage_folder(tmp_path, "prompts")
    dpo = stage_folder(tmp_path, "dpo")
    for folder, uses in ((prompts, []), (dpo, ["prompts"])):
        (folder / "rows.txt").write_text(folder.parent.name)
        mirror = open_mirror(
            WandbSettings(project="ours"),
            folder=folder,
            run="quick",
            stage=folder.parent.name,
            fingerprint="f00",
            config={"beta": 0.1, "by": "ann@example.org"},
        )
        for step in range(3):
            mirror.log({"kl": step / 2}, step=step)
        mirror.table("samples", [{"text": "to ann@example.org"}], step=2)
        mirror.alert(Alert("dpo: alarm", "It writes longer."))
        mirror.output(folder.parent.name, "policy", folder, uses=uses, metadata={})
        mirror.finish({"win_rate": 0.75})
    (log,) = reader.logs(dpo)
    # As `rlhf sync` does where it leaves records out: the rest must stay readable.
    records = list(read_records(log))
    write_records(log, (record for record in records if record != records[-1]))
    write_records(log, records)

    rows: list[Json] = [json.loads(line) for line in inspected(log).splitlines()]
    assert [row["num"] for row in rows[1:]] == list(range(2, len(rows) + 1))
    (run,) = [row["run"] for row in rows if row["type"] == "run"]
    assert (run["project"], run["run_group"], run["job_type"]) == ("ours", "quick", "dpo")
    (alert,) = [row["alert"] for row in rows if row["type"] == "alert"]
    assert (alert["title"], alert["text"], alert["level"]) == (
        "dpo: alarm",
        "It writes longer.",
        "WARN",
    )
    made = [row["artifact"] for row in rows if row["type"] == "artifact"]
    assert [(a["name"], a["aliases"], a.get("use_after_commit", False)) for a in made][1:3] == [
        ("prompts", ["f00"], True),
        ("dpo", ["latest", "round-0", "f00"], False),
    ]
    summary = json.loads(inspected(log, "--summary"))
    assert (summary["state"], summary["step"], summary["exit_code"]) == ("finished", 3, 0)
    assert (summary["summary"]["kl"], summary["summary"]["win_rate"]) == (1.0, 0.75)
    assert summary["config"] == {
        "beta": 0.1,
        "by": "[email]",
        "run_folder": "quick/round-0/dpo/f00",
    }
