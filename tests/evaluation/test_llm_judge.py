"""A language model as judge: both orders, retries, nonsense, silence, and nothing paid twice."""

import re
from pathlib import Path

import pytest
from endpoint_by_hand import Reply, served

from rlhf.data.records import Prompt, Response
from rlhf.evaluation.endpoint import Endpoint, UnusableReplyError
from rlhf.evaluation.judges import Judged, Matchup
from rlhf.evaluation.llm_judge import ByEndpoint, chosen, question, read_kept

CRITERION = "Which answer is more useful?"


def matchup(number: int, ours: str, theirs: str) -> Matchup:
    prompt = Prompt.of(f"Question {number}?")
    return Matchup(prompt, Response.of(prompt.id, ours), Response.of(prompt.id, theirs))


def likes_good(text: str) -> str:
    """Prefers the answer that says it is good; finds others alike."""
    first, second = re.findall(r"<answer_[ab]>\n(.*?)\n</answer_[ab]>", text, re.DOTALL)
    if ("good" in first) == ("good" in second):
        return "Both. [[C]]"
    return "[[A]]" if "good" in first else "The second: [[B]]"


def judge(url: str, folder: Path, **changes: object) -> ByEndpoint:
    endpoint = Endpoint(url, "judge-1", timeout_seconds=2.0, retries=2, first_wait_seconds=0.0)
    asked = {"concurrency": 2, "max_unusable": 0.5, **changes}
    return ByEndpoint(endpoint, CRITERION, folder / "replies.jsonl", **asked)  # type: ignore[arg-type]


ROWS = [
    matchup(1, "good", "bad"),
    matchup(2, "bad", "good"),
    matchup(3, "bad", "worse"),
    matchup(4, "the same", "the same"),
]


def test_both_orders_are_asked_and_what_is_the_same_is_not(tmp_path: Path) -> None:
    with served(likes_good) as server:
        made = judge(server.url, tmp_path)
        assert made.compare(ROWS) == [
            Judged(1.0, 0.0),
            Judged(-1.0, 0.0),
            Judged(0.0, 0.0),
            Judged(0.0, 0.0),
        ]
    assert len(server.asked) == 6
    assert {one["path"] for one in server.asked} == {"/v1/chat/completions"}
    assert {(one["model"], one["temperature"]) for one in server.asked} == {("judge-1", 0.0)}
    assert all(CRITERION in text for text in server.questions)
    told = made.told()
    assert (told["comparisons"], told["inconsistent"], told["unusable"]) == (4, 0, 0)
    assert told["first_chosen"] == 0.5
    assert (made.name, made.independent) == ("endpoint:judge-1", True)


def test_who_prefers_the_first_place_is_not_believed(tmp_path: Path) -> None:
    with served(lambda _: "[[A]]") as server:
        made = judge(server.url, tmp_path)
        assert made.compare(ROWS[:2]) == [Judged(0.0, 0.0)] * 2
    assert made.told()["inconsistent"] == 2
    assert made.told()["first_chosen"] == 1.0


def test_one_tie_and_one_choice_is_a_tie(tmp_path: Path) -> None:
    replies = iter(["[[A]]", "[[C]]"])
    with served(lambda _: next(replies)) as server:
        made = judge(server.url, tmp_path, concurrency=1)
        assert made.compare(ROWS[:1]) == [Judged(0.0, 0.0)]
    assert made.told()["inconsistent"] == 1


def test_nothing_is_asked_twice_though_the_last_line_was_cut_short(tmp_path: Path) -> None:
    with served(likes_good) as server:
        judge(server.url, tmp_path).compare(ROWS[:2])
        kept = tmp_path / "replies.jsonl"
        whole = kept.read_bytes()
        kept.write_bytes(whole[:-5])
        assert len(read_kept(kept)) == 3
        again = judge(server.url, tmp_path)
        assert again.compare(ROWS) == judge(server.url, tmp_path).compare(ROWS)
    assert len(server.asked) == 4 + 1 + 2  # the cut one, and both orders of the third
    assert len(read_kept(kept)) == 6
    kept.write_text('{"key": "a"}\n{"key": "b", "reply": "[[A]]"}\n')
    with pytest.raises(ValueError, match=r"replies.jsonl, line 1 is damaged: remove the line"):
        read_kept(kept)


def test_another_model_criterion_or_text_is_another_question(tmp_path: Path) -> None:
    with served(likes_good) as server:
        judge(server.url, tmp_path).compare(ROWS[:1])
        other = judge(server.url, tmp_path)
        other.criterion = "Which answer is shorter?"
        other.compare(ROWS[:1])
        third = judge(server.url, tmp_path)
        third.endpoint = Endpoint(server.url, "judge-2")
        third.compare(ROWS[:1])
    assert len(server.asked) == 6


def test_nonsense_is_counted_named_and_left_out(tmp_path: Path) -> None:
    def nonsense_on_two(text: str) -> str:
        return "I would rather not say" if "Question 2?" in text else likes_good(text)

    with served(nonsense_on_two) as server:
        made = judge(server.url, tmp_path)
        assert made.compare(ROWS) == [
            Judged(1.0, 0.0),
            None,
            Judged(0.0, 0.0),
            Judged(0.0, 0.0),
        ]
    told = made.told()
    assert told["unusable"] == 1
    assert told["reasons"] == {"a reply without [[A]], [[B]] or [[C]]": 2}
    assert len(read_kept(tmp_path / "replies.jsonl")) == 4  # what was of no use is asked again


def test_too_much_nonsense_is_refused_and_what_was_said_is_kept(tmp_path: Path) -> None:
    def mostly(text: str) -> str:
        return likes_good(text) if "Question 1?" in text else "hm"

    with served(mostly) as server, pytest.raises(ValueError, match="is of no use") as refused:
        judge(server.url, tmp_path, max_unusable=0.25, concurrency=1).compare(ROWS)
    assert "2 of 4 comparisons brought nothing" in str(refused.value)
    assert "max_unusable allows (25%)" in str(refused.value)
    assert "x a reply without [[A]], [[B]] or [[C]]" in str(refused.value)
    assert len(read_kept(tmp_path / "replies.jsonl")) == 2


def test_a_dead_judge_is_given_up_early(tmp_path: Path) -> None:
    rows = [matchup(number, "good", "bad") for number in range(200)]
    with served(lambda _: 503) as server, pytest.raises(ValueError, match="HTTP 503"):
        judge(server.url, tmp_path, max_unusable=0.05).compare(rows)
    assert len(server.asked) < 3 * 60


def complete(answer: Reply, **changes: object) -> tuple[str, list[float], int]:
    waits: list[float] = []
    replies = iter([answer, "[[A]]"])
    with served(lambda _: next(replies)) as server:
        endpoint = Endpoint(server.url, "m", **{"timeout_seconds": 0.2, **changes})  # type: ignore[arg-type]
        said = endpoint.complete("?", sleep=waits.append)
    return said, waits, len(server.asked)


def test_what_passes_is_tried_again_with_growing_waits() -> None:
    assert complete(503) == ("[[A]]", [0.0, 1.0], 2)
    assert complete((429, {"Retry-After": "7"})) == ("[[A]]", [7.0, 1.0], 2)
    assert complete((429, {"Retry-After": "Wed, 21 Oct"})) == ("[[A]]", [0.0, 1.0], 2)
    assert complete((429, {"Retry-After": "99999"}))[1] == [60.0, 1.0]
    assert complete(None) == ("[[A]]", [1.0], 2)  # no reply in time
    waits: list[float] = []
    with served(lambda _: 500) as server, pytest.raises(UnusableReplyError, match="HTTP 500"):
        Endpoint(server.url, "m").complete("?", sleep=waits.append)
    assert [wait for wait in waits if wait] == [1.0, 2.0, 4.0, 8.0]


def test_silence_and_closed_doors_have_names() -> None:
    with served(lambda _: None) as server:
        slow = Endpoint(server.url, "m", timeout_seconds=0.1, retries=0)
        with pytest.raises(UnusableReplyError, match=r"no reply within 0.1 s"):
            slow.complete("?")
    with pytest.raises(UnusableReplyError, match="no connection"):
        Endpoint(server.url, "m", retries=0).complete("?")
    with (
        served(lambda _: b"<html>") as server,
        pytest.raises(UnusableReplyError, match="a reply in no known form"),
    ):
        Endpoint(server.url, "m", retries=0).complete("?")


def test_what_will_not_pass_is_the_users_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_KEY", "sesame")
    with served(lambda _: (401, {})) as server:
        with pytest.raises(ValueError, match=r"refuses \(HTTP 401") as refused:
            Endpoint(server.url, "m", "A_KEY").complete("?")
        assert server.keys == ["Bearer sesame"]
    assert "sesame" not in str(refused.value)
    assert len(server.asked) == 1
    monkeypatch.delenv("A_KEY")
    with pytest.raises(ValueError, match="wants a key: set the environment variable A_KEY"):
        Endpoint(server.url, "m", "A_KEY").complete("?")


def test_what_leaves_this_machine_names_nobody_and_shows_what_was_cut() -> None:
    prompt = Prompt.of("Write to ada@example.org.")
    cut = Response.of(prompt.id, "Dear Ada, my number is +49 30 1234567", finished=False)
    text = question(prompt, cut, Response.of(prompt.id, "No."), CRITERION)
    assert "ada@example.org" not in text
    assert "Write to [email]." in text
    assert "my number is [phone] [cut off here]" in text


def test_the_last_marker_counts() -> None:
    assert chosen("At first [[A]], but no: [[B]]") == "second"
    assert chosen("[[C]]") == "alike"
    assert chosen("A") is None
