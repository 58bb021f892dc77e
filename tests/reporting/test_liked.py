"""What the reward model likes most, what is suspicious, and what the filters choose from."""

from pathlib import Path

from run_by_hand import answer_rows, plain, results, write_run

from rlhf.data.identity import Json
from rlhf.reporting.cautions import cautions_of
from rlhf.reporting.glance import glance
from rlhf.reporting.liked import listed_suspects, most_liked, suspect_rows, suspects_of
from rlhf.reporting.reading import RunRecord, read_run
from rlhf.reporting.report import render
from rlhf.reporting.samples import WITH_MORE, samples_of


def a_run(folder: Path, rows: list[Json]) -> RunRecord:
    return read_run(write_run(folder / "small", answers=rows))


def rows_with_a_gamed_one() -> list[Json]:
    """Eight prompts; on the last, PPO's score rises by 3 while the judge's falls by 1."""
    rows = answer_rows([1.0, -1.0, 0.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    for place, row in enumerate(rows):
        row["answers"]["reference"]["proxy_reward"] = float(place % 2)  # a spread of one half
        row["answers"]["ppo"]["proxy_reward"] = place / 10
        row["answers"]["dpo"]["proxy_reward"] = -place / 10
    rows[7]["answers"]["ppo"] |= {"proxy_reward": 4.0, "gold_reward": 0.0}
    return rows


def test_the_best_liked_come_first_one_a_prompt(tmp_path: Path) -> None:
    run = a_run(tmp_path, rows_with_a_gamed_one())
    found = suspects_of(run)
    shown = most_liked(run, found)
    assert [one.facts for one in shown] == [
        "1. PPO, reward 4.00",
        "2. PPO, reward 0.60",
        "3. PPO, reward 0.50",
        "4. PPO, reward 0.40",
        "5. PPO, reward 0.30",
    ]
    first, beside = shown[0].answers
    assert (first.text, first.outcome) == ("PPO says 7", "loss")
    assert (beside.policy, beside.outcome) == ("SFT", "")
    assert first.reasons == ("the reward model's score rose by 3.00, the judge's fell by 1.00",)


def test_suspects_are_counted_beside_sft_drawn_again(tmp_path: Path) -> None:
    run = a_run(tmp_path, rows_with_a_gamed_one())
    found = suspects_of(run)
    assert [one.facts for one in listed_suspects(run, found)] == ["score up, judge down"]
    table = suspect_rows(run, found)
    assert [(row.label, row.total, row.by_rule) for row in table] == [
        ("DPO", "0 of 8", ("0", "0", "0", "0")),
        ("PPO", "1 of 8", ("1", "0", "0", "0")),
        ("SFT, drawn again", "0 of 8", ("0", "0", "0", "0")),
    ]
    figures = {one.name: (plain(one.value), one.beside) for one in glance(run, table)}
    assert figures["Suspicious answers"] == ("0 of 8", "SFT, drawn again 0 of 8")
    assert figures["DPO beats SFT"][0] == "70 %"
    assert "At equal length" not in figures
    equal = {"rate": 0.61, "low": 0.55, "high": 0.67}
    run.result("evaluate")["policies"]["dpo"]["length_controlled"] = equal
    shown = {one.name: (plain(one.value), plain(one.beside)) for one in glance(run, table)}
    assert shown["At equal length"] == ("61 %", "95 % interval 55 to 67 %")


def test_the_filters_have_more_than_the_dozen_suspicious_ones_first(tmp_path: Path) -> None:
    rows = answer_rows([float(place) for place in range(100)])
    rows[30]["answers"]["ppo"]["text"] = "a b " * 8
    run = a_run(tmp_path, rows)
    shown = samples_of(run, suspects_of(run))
    assert [one.chosen for one in shown] == [True] * 12 + [False] * (WITH_MORE - 12)
    assert shown[12].turns[0][1] == "Question 30 on tips?"
    outcomes = {answer.policy: answer.outcome for answer in shown[12].answers}
    assert outcomes == {"SFT": "", "DPO": "win", "PPO": "tie"}
    assert shown[12].answers[2].reasons == ("86 % of its word triples are repeats",)


def test_personal_data_is_shown_on_request_only(tmp_path: Path) -> None:
    rows = answer_rows([1.0])
    rows[0]["prompt"][0]["content"] = "Write to ann@example.org."
    rows[0]["answers"]["dpo"]["text"] = "I wrote to ann@example.org."
    rows[0]["answers"]["dpo"]["tokens"] = 50
    found = {"evaluate": results()["evaluate"]}
    run = read_run(write_run(tmp_path / "small", found, answers=rows))
    page = render(run)
    assert "rlhf suspicious small --queue" in page
    assert "ann@example.org" not in page
    assert "Write to [email]." in page
    assert "I wrote to ann@example.org." in render(run, personal=True)


def test_more_suspicious_answers_than_chance_gives_are_a_warning(tmp_path: Path) -> None:
    # 12 of 60 is 12 to 32 % by Wilson, 3 of 60 is 2 to 14 %, and 2 of 60 is 1 to 11 %.
    for by_chance, warned in ((3, False), (2, True)):
        rows = answer_rows([1.0] * 60)
        for place, row in enumerate(rows):
            row["answers"]["ppo"]["text"] = "a b " * 8 if place < 12 else "Fine."
            row["answers"]["sft"]["text"] = "a b " * 8 if place < by_chance else "Fine."
        found = cautions_of(a_run(tmp_path / f"{by_chance}", rows))
        assert bool(found) == warned
    [caution] = found
    assert caution.headline == "PPO gives suspicious answers."
    assert "12 of 60 (repeating: 12), where SFT drawn again gives 2." in caution.text


def test_an_answer_that_was_not_judged_is_no_loss(tmp_path: Path) -> None:
    rows = answer_rows([1.0, 2.0])
    rows[0]["answers"]["dpo"] |= {"gold_reward": 0.0, "unusable": True}
    rows[1]["answers"]["ppo"] |= {"gold_reward": 0.0, "unusable": True}
    [shown] = samples_of(a_run(tmp_path, rows))  # no sample is chosen by what nobody judged
    assert shown.turns[0][1] == "Question 1 on tips?"
    by_ppo = shown.answers[2]
    assert (by_ppo.outcome, by_ppo.facts) == ("", "not judged · reward model 0.25 · 20 tokens")
