"""The `rlhf` command, run in forks of a process that has imported what the stages need.

A command of its own spends seconds on importing torch and TRL, a fork none; everything else is the
same: its own process, its exit code, death by a signal.
"""

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from select import select

ROOT = Path(__file__).parents[2]
MAIN = "from pipelines.cli import main; main()"
PATIENCE_SECONDS = 240
SERVER = """
import gc, json, os, sys, traceback
replies = open(os.dup(1), "w")
os.dup2(2, 1)  # what libraries print while they are imported is no reply
import pipelines.cli, pipelines.commands.run, pipelines.graph
import datasets, peft, torch, transformers, trl, trl.trainer.sft_trainer
import rlhf.evaluation.answers, rlhf.policy.dpo, rlhf.policy.ppo, rlhf.policy.sft
import rlhf.reward.trainer
gc.collect()
gc.freeze()

def run(asked):
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_TRUNC
        os.dup2(os.open(asked[name], flags), number)
    sys.stdin = open(0)
    sys.argv = ["rlhf", *asked["words"]]
    code = 0
    try:
        exec(asked["code"], {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        run(json.loads(line))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), file=replies, flush=True)
"""


@cache
def _server() -> subprocess.Popen[str]:
    """Started when it is first needed; it ends when its input does, with this process."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def rlhf(
    *words: str | Path, code: str = MAIN, entered: str = ""
) -> subprocess.CompletedProcess[str]:
    """What `rlhf WORDS` did; or what `code` did, which finds the words in `sys.argv`."""
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, name) for name in ("stdin", "stdout", "stderr")}
        for name, path in files.items():
            path.write_text(entered if name == "stdin" else "")
        asked = {name: str(path) for name, path in files.items()}
        spoken = list(map(str, words))
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps({**asked, "words": spoken, "code": code}) + "\n")
        server.stdin.flush()
        ready, _, _ = select([server.stdout], [], [], PATIENCE_SECONDS)
        if not ready:
            server.kill()
            _server.cache_clear()
            raise TimeoutError(f"rlhf {' '.join(spoken)} took over {PATIENCE_SECONDS} s")
        returned = int(server.stdout.readline())
        return subprocess.CompletedProcess(
            ["rlhf", *spoken], returned, files["stdout"].read_text(), files["stderr"].read_text()
        )
