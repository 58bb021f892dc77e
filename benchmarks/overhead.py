"""What the house itself costs: starting the command, a run with nothing to do, rankings in bulk.

`python -m benchmarks.overhead [--quick]`: `rlhf --help` by turns with a bare `import typer`; a
second `rlhf run` of a finished run (the shipped quickstart, cut to a minute's work); what is noted
of a training step (metrics file, W&B mirror, ledger), beside a step of the quickstart's little
model, and what that comes to over a whole stage with its start and end; and a file of a million
rankings of four responses, ids only, read and streamed into their weighted pairs, with the peak
memory of the process that does it. The last line is JSON.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from rlhf.data.identity import Json
from rlhf.data.jsonl import write_jsonl
from rlhf.data.records import Ranking

ROOT = Path(__file__).parents[1]
RESPONSES = 4
VOTES = 2  # rankings of each prompt
LABELERS = 200
STAGE_STEPS = 54  # of the quickstart's reward model
PAIRS = RESPONSES * (RESPONSES - 1) // 2
SMALL_RUN = ROOT / "tests" / "pipelines" / "tiny.yaml"
VERDICTS = (0, 3, 4)  # a run ends in what it says of its policies
# Run by itself, so that its peak is its own.
DERIVE = """
import sys, time
from pathlib import Path
from rlhf.feedback.pairs import stream_pairs
started = time.perf_counter()
count, weight = 0, 0.0
for pair in stream_pairs(Path(sys.argv[1])):
    count += 1
    weight += pair.weight
seconds = time.perf_counter() - started
# ru_maxrss would begin with the parent's.
status = dict(row.split(":", 1) for row in open("/proc/self/status"))
print(count, weight, seconds, time.process_time(), int(status["VmHWM"].split()[0]) / 1024)
"""


def main() -> None:
    """Measures, prints a table, then one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="100,000 rankings, fewer rounds")
    asked = parser.parse_args()
    found: Json = {}
    with tempfile.TemporaryDirectory() as scratch:
        found |= starting(rounds=5 if asked.quick else 15)
        found |= cached_run(Path(scratch), rounds=2 if asked.quick else 5)
        found |= tracking(Path(scratch), steps=300 if asked.quick else 2000)
        found |= bulk(Path(scratch), 100_000 if asked.quick else 1_000_000)
    print(f"\n| {'key':28} | {'measured':>10} |\n|{'-' * 30}|{'-' * 11}:|")
    for name, value in found.items():
        print(f"| {name:28} | {value:>10} |")
    print(json.dumps(found))


def starting(*, rounds: int) -> Json:
    """Seconds of `rlhf --help`, and how many times a bare `import typer` that is."""
    commands = {
        "help": [sys.executable, "-m", "pipelines.cli", "--help"],
        "typer": [sys.executable, "-c", "import typer"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(rounds + 1):
        for name in commands if number % 2 else reversed(commands):
            took = _seconds(commands[name])
            if number:  # the first round warms the disk
                seconds[name].append(took)
    ratios = [one / two for one, two in zip(seconds["help"], seconds["typer"], strict=True)]
    middle = {name: median(times) for name, times in seconds.items()}
    print(f"rlhf --help {middle['help']:.2f} s, import typer {middle['typer']:.2f} s", flush=True)
    return {
        "help_seconds": round(middle["help"], 3),
        "help_ratio": round(median(ratios), 3),
        "help_ratio_lowest": round(min(ratios), 3),
        "help_ratio_highest": round(max(ratios), 3),
    }


def cached_run(scratch: Path, *, rounds: int) -> Json:
    """Seconds of `rlhf run` where every stage is there already, from the first to the report."""
    command = [
        *(sys.executable, "-m", "pipelines.cli", "run"),
        *(str(SMALL_RUN), f"runs_dir={scratch / 'runs'}"),
    ]
    print(f"a small run, whole: {_seconds(command, VERDICTS):.1f} s", flush=True)
    again = [_seconds(command, VERDICTS) for _ in range(rounds)]
    print(f"the same again: {median(again):.2f} s", flush=True)
    return {"cached_run_seconds": round(median(again), 3)}


def tracking(scratch: Path, *, steps: int) -> Json:
    """Seconds that metrics file, W&B mirror (offline) and ledger take of a training step, and at
    the start and end of a stage.

    Beside a step of the quickstart's reward model (64 sequences of 64 tokens, 0.9 M parameters, one
    thread): `tracking_share` is what noting takes over what the step takes, `tracked_step_ratio` a
    step with all three at work over one without, by turns, and `tracking_share_of_stage` all that
    the three take, start and end too, over the bare steps of that stage.
    """
    from pipelines.metrics import MetricsLog
    from rlhf.tracking.energy import LedgerSettings
    from rlhf.tracking.ledger import booked
    from rlhf.tracking.mirror import WandbSettings, open_mirror

    run = scratch / "tracked"
    folder = run / "round-1" / "reward" / "aaa"
    folder.mkdir(parents=True)
    about = {"folder": folder, "run": "tracked", "stage": "reward", "fingerprint": "aaa"}
    figures = {f"figure_{number}": number / 7 for number in range(8)}
    started = time.perf_counter()
    with booked(LedgerSettings(), run, folder, simulated=False):
        mirror = open_mirror(WandbSettings(mode="offline"), config={}, **about)  # type: ignore[arg-type]
        log = MetricsLog(folder, mirror)
        logging = time.perf_counter()
        for step in range(1, steps + 1):
            log.append({"step": step, **figures})
        noting = time.perf_counter() - logging
        each = noting / steps
        bare, tracked = _by_turns(lambda step: log.append({"step": steps + step, **figures}))
        training = time.perf_counter() - logging - noting
        log.close()
        mirror.finish({})
    stage = time.perf_counter() - started - noting - training
    step_seconds = median(bare)
    ratio = median(two / one for one, two in zip(bare, tracked, strict=True))
    of_stage = (stage + STAGE_STEPS * each) / (STAGE_STEPS * step_seconds)
    print(
        f"a step {1000 * step_seconds:.0f} ms, noted in {1000 * each:.2f} ms; a stage {stage:.2f} "
        f"s: {of_stage:.1%} of its {STAGE_STEPS} steps"
    )
    return {
        "training_step_seconds": round(step_seconds, 5),
        "tracking_seconds_per_step": round(each, 6),
        "tracking_share": round(each / step_seconds, 5),
        "tracking_seconds_per_stage": round(stage, 3),
        "tracked_step_ratio": round(ratio, 4),
        "tracking_share_of_stage": round(of_stage, 5),
    }


def _by_turns(note: Callable[[int], None], rounds: int = 20) -> tuple[list[float], list[float]]:
    """Seconds of training steps without and with a note of each, one after the other; the first
    two rounds warm up.
    """
    train = training_step()
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 2):
        for noted in (False, True) if number % 2 else (True, False):
            started = time.perf_counter()
            train()
            if noted:
                note(number)
            if number >= 2:
                seconds[noted].append(time.perf_counter() - started)
    return seconds


def training_step() -> Callable[[], None]:
    """A step of a model of the quickstart's size: forward, backward, AdamW."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.set_num_threads(1)
    config = LlamaConfig(
        vocab_size=1024,
        hidden_size=128,
        intermediate_size=336,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters())
    ids = torch.randint(0, 1024, (64, 64))  # (B, T)

    def step() -> None:
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def bulk(scratch: Path, count: int) -> Json:
    """Seconds and peak memory of a process that reads `count` rankings and streams their pairs.

    With fewer than a million the seconds are scaled up, and the memory is what it is.
    """
    path = scratch / "rankings.jsonl"
    started = time.perf_counter()
    write_jsonl(path, (made(number, count).to_json() for number in range(count)))
    size = path.stat().st_size / 1e6
    print(f"{count:,} rankings written, {size:.0f} MB, {time.perf_counter() - started:.0f} s")
    ran = subprocess.run(
        [sys.executable, "-c", DERIVE, str(path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    pairs, weight, seconds, busy, megabytes = map(float, ran.stdout.split())
    assert pairs == count * PAIRS, (pairs, count)
    assert abs(weight - count / VOTES) < 1e-3, weight  # every prompt has one vote
    million = 1_000_000 / count
    print(
        f"{count:,} rankings to {int(pairs):,} pairs: {seconds:.1f} s ({busy:.1f} s of one core), "
        f"{megabytes:.0f} MB"
    )
    return {
        "million_rankings_seconds": round(seconds * million, 2),
        "million_rankings_cpu_seconds": round(busy * million, 2),
        "million_rankings_peak_mb": round(megabytes, 1),
    }


def made(number: int, count: int) -> Ranking:
    """A ranking of ids; the `VOTES` of a prompt stand far apart, as labelers leave them."""
    prompt = f"{number % (count // VOTES):016x}"
    shown = tuple(f"response-{prompt[1:]}{place}" for place in range(RESPONSES))
    turn = number % RESPONSES
    return Ranking.of(
        prompt_id=f"prompt-{prompt}",
        labeler_id=f"labeler-{number % LABELERS:016x}",
        groups=tuple((one,) for one in shown[turn:] + shown[:turn]),
        shown=shown,
        submitted_at="2026-01-01T09:00:00+00:00",
        duration_seconds=30.0,
    )


def _seconds(command: Sequence[str], allowed: Sequence[int] = (0,)) -> float:
    started = time.perf_counter()
    ran = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    took = time.perf_counter() - started
    if ran.returncode not in allowed:
        raise RuntimeError(f"{' '.join(command)} ended with {ran.returncode}: {ran.stderr[-500:]}")
    return took


if __name__ == "__main__":
    main()
