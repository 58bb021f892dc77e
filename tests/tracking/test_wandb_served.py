"""The mirror before a W&B server: with an account and without, whole and broken."""

import gzip
import time
from pathlib import Path

import pytest
import wandb_reader as reader
from wandb_scripts import WORK, wandb_script
from wandb_server import Fault, wandb_server

UNLESS_IT_WAITS = 60.0  # seconds, on a busy machine; W&B by itself would wait for minutes


def test_without_an_account_no_request_leaves_the_machine(tmp_path: Path) -> None:
    with wandb_server() as server:
        ran = wandb_script(server, tmp_path, "mirror = opened('sft')" + WORK, account=False)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
        assert server.requests == 0
    assert [log.parent.name[:8] for log in reader.logs(tmp_path / "round-0/sft/f00")] == [
        "offline-"
    ]


def test_with_an_account_everything_arrives_as_it_happens(tmp_path: Path) -> None:
    with wandb_server() as server:
        ran = wandb_script(server, tmp_path, "mirror = opened('sft')" + WORK)
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
        ((run, rows),) = server.history.items()
        assert [row.get("loss") for row in rows[:5]] == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert server.finished == {run: 0}
        assert [(alert["runName"], alert["text"]) for alert in server.alerts] == [
            (run, "Write to [email]."),
            (run, "Two of one title."),
        ]
        assert {a["artifactCollectionName"]: a["state"] for a in server.artifacts} == {
            f"run-{run}-samples": "COMMITTED",
            f"run-{run}-samples_every_step": "COMMITTED",
            "rows": "COMMITTED",
        }
        assert not any(b"ann@example.org" in sent for sent in server.files.values())
    (log,) = reader.logs(tmp_path / "round-0/sft/f00")
    assert log.with_suffix(".wandb.synced").exists()


PERSONAL = {
    "mail": "ann@example.org",
    "phone": "+44 20 7946 0958",
    "card": "4111 1111 1111 1111",
    "iban": "GB82 WEST 1234 5698 7654 32",
    "address": "203.0.113.77",
    "secret": "hf_" + 30 * "A",
}


def test_nothing_personal_leaves_the_machine_by_any_way(tmp_path: Path) -> None:
    """Config, tables, summary, metadata, files of every kind, alerts: read off the wire."""
    code = f"""
import gzip, json
personal = {PERSONAL!r}
said = " and ".join(personal.values())
folder = Path(sys.argv[1]) / "round-0" / "sft" / "f00"
folder.mkdir(parents=True)
mirror = open_mirror(
    WandbSettings(), folder=folder, run="quick", stage="sft", fingerprint="f00",
    config={{"deep": [{{"note": said, said: 1}}]}},
)
mirror.table("samples", [{{"text": said, "turns": [{{"content": said}}], "who": personal}}], step=1)
mirror.alert(Alert("sft: " + personal["mail"], said))
(folder / "a.jsonl").write_text(json.dumps({{"text": said, "by": {{said: 1}}}}) + "\\n")
rows = json.dumps({{"turns": [said]}}) + "\\n"
(folder / "b.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
(folder / "c.json").write_text(json.dumps({{"nested": [said]}}))
(folder / "d.html").write_text("<p>" + said + "</p>")
(folder / "e.bin.unknown").write_bytes(said.encode())
mirror.output("sft", "policy", folder, metadata={{"guidelines": said}})
mirror.finish({{"said": said, "list": [said]}})
"""
    with wandb_server() as server:
        ran = wandb_script(server, tmp_path, code)
        assert (ran.returncode, ran.stderr) == (0, "")
        marks = b"[email] and [phone] and [card] and [iban] and [ip] and [secret]"
        assert sum(marks in body for body in server.sent) >= 4
        assert len(server.files) >= 5
        for body in server.sent:
            path, _, rest = body.partition(b"\n")
            text = gzip.decompress(rest) if rest[:2] == b"\x1f\x8b" else body
            for kind, value in PERSONAL.items():
                assert value.encode() not in text, (kind, path)
                assert value.encode() not in body, (kind, path)


@pytest.mark.parametrize("fault", [pytest.param("500", marks=pytest.mark.slow), "hang"])
def test_an_outage_at_the_start_costs_seconds_once(tmp_path: Path, fault: Fault) -> None:
    code = "wandb_run.QUIET['init_timeout'] = 5\nmirror = opened('sft')" + WORK
    code += "import time; began = time.time()\nmirror = opened('dpo')" + WORK
    code += "print(time.time() - began)"
    with wandb_server(fault) as server:
        began = time.monotonic()
        ran = wandb_script(server, tmp_path, code)
        assert time.monotonic() - began < UNLESS_IT_WAITS
    assert ran.returncode == 0
    assert float(ran.stdout) < 5
    assert ran.stderr.count("could not be reached") == 1
    assert ran.stderr.count("\n") == 1
    for stage in ("sft", "dpo"):
        (log,) = reader.logs(tmp_path / "round-0" / stage / "f00")
        assert log.parent.name.startswith("offline-run-")
        assert len(reader.history(log)) == 7


def test_an_outage_in_the_middle_holds_no_stage_up(tmp_path: Path) -> None:
    code = "wandb_run.FINISH_SECONDS = 1.5\nmirror = opened('sft')\nbreak_server('hang')" + WORK
    code += "mirror = opened('dpo')" + WORK
    with wandb_server() as server:
        began = time.monotonic()
        ran = wandb_script(server, tmp_path, code)
        assert time.monotonic() - began < UNLESS_IT_WAITS
    assert ran.returncode == 0
    assert "the server did not take the rest within 1.5 s" in ran.stderr
    assert ran.stderr.count("\n") == 1
    (kept,) = reader.logs(tmp_path / "round-0/sft/f00", ended=False)
    assert [row["loss"] for row in reader.history(kept)[:5]] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert not kept.with_suffix(".wandb.synced").exists()
    (later,) = reader.logs(tmp_path / "round-0/dpo/f00")
    assert later.parent.name.startswith("offline-run-")


STEPS = """
def steps(first, last):
    slowest = 0.0
    for step in range(first, last):
        began = time.perf_counter()
        mirror.log({"loss": float(step)}, step=step)
        if step % 20 == 5:
            mirror.table("samples", [{"text": f"at {step}"}], step=step)
        slowest = max(slowest, time.perf_counter() - began)
    return slowest
import time
# A server that comes back is asked again within moments, not minutes.
wandb_run.QUIET["x_file_stream_retry_wait_min_seconds"] = 1.0
wandb_run.QUIET["x_file_stream_retry_wait_max_seconds"] = 1.0
wandb_run.QUIET["x_graphql_retry_wait_max_seconds"] = 1.0
wandb_run.QUIET["x_file_stream_timeout_seconds"] = 1.0
wandb_run.QUIET["x_graphql_timeout_seconds"] = 1.0
"""


@pytest.mark.parametrize("fault", ["hang", pytest.param("500", marks=pytest.mark.slow)])
def test_after_an_outage_in_the_middle_the_mirror_catches_up(tmp_path: Path, fault: Fault) -> None:
    code = (
        STEPS
        + f"""
mirror = opened("sft")
steps(0, 10)
time.sleep(1)
break_server("{fault}")
slowest = steps(10, 60)
time.sleep(1)
break_server("none")
slowest = max(slowest, steps(60, 70))
mirror.finish({{"x": 1}})
print(slowest)
"""
    )
    with wandb_server() as server:
        ran = wandb_script(server, tmp_path, code)
        assert (ran.returncode, ran.stderr) == (0, "")
        ((run, rows),) = server.history.items()
        assert [row["loss"] for row in rows if "loss" in row] == list(map(float, range(70)))
        assert server.finished == {run: 0}
    assert float(ran.stdout) < 5  # a step never waits for the server
    (log,) = reader.logs(tmp_path / "round-0/sft/f00")
    assert log.with_suffix(".wandb.synced").exists()


def test_a_service_that_hangs_holds_no_step_up_and_catches_up(tmp_path: Path) -> None:
    """Its socket is full after some hundred steps; once, a stage waited there for ever."""
    code = """
import time
figures = {f"group/number_{n}": n / 7 for n in range(40)}
def steps():
    slowest = 0.0
    for step in range(1000):
        began = time.perf_counter()
        mirror.log(figures, step=step)
        slowest = max(slowest, time.perf_counter() - began)
    return slowest
mirror = opened("sft")
service().send_signal(signal.SIGSTOP)
slowest = steps()
service().send_signal(signal.SIGCONT)
mirror.finish({})
wandb_run.FINISH_SECONDS = 1.0
mirror = opened("dpo")
service().send_signal(signal.SIGSTOP)
slowest = max(slowest, steps())
began = time.perf_counter()
mirror.finish({})
print(slowest, time.perf_counter() - began)
mirror = opened("ppo")
mirror.log({"loss": 1.0}, step=0)
mirror.finish({})
"""
    with wandb_server() as server:
        ran = wandb_script(server, tmp_path, code, account=False)
    assert ran.returncode == 0, ran.stderr
    slowest, finish = map(float, ran.stdout.split())
    assert slowest < 0.5
    assert finish < 5
    assert ran.stderr == (
        "The W&B mirror of stage dpo is incomplete from its end on (TimeoutError: W&B's service "
        "took nothing for 1 s); the run folder has everything.\n"
    )
    (caught_up,), (next_one,) = (
        reader.logs(tmp_path / "round-0" / stage / "f00") for stage in ("sft", "ppo")
    )
    assert len(reader.history(caught_up)) == 1000
    assert len(reader.history(next_one)) == 1


def test_a_service_that_dies_ends_no_stage_and_the_next_is_mirrored(tmp_path: Path) -> None:
    code = "mirror = opened('sft')\nkill_service()" + WORK + "mirror = opened('dpo')" + WORK
    with wandb_server() as server:
        began = time.monotonic()
        ran = wandb_script(server, tmp_path, code, account=False)
        assert time.monotonic() - began < UNLESS_IT_WAITS
    assert ran.returncode == 0
    assert ran.stderr.count("The W&B mirror of stage sft is incomplete") == 1
    (log,) = reader.logs(tmp_path / "round-0/dpo/f00")
    assert len(reader.history(log)) == 7
