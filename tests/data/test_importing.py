"""Import: every shape on small rows, every reason for a drop, and the counts of published files."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from rlhf.data.importing import FORMATS, Imported, guess_format, read_file

SHARED = Path(
    os.environ.get("RLHF_SHARED_DATA", Path(__file__).parents[2].parent / "shared" / "data")
)
Row = dict[str, Any]


def written(folder: Path, rows: list[Any], name: str = "rows.jsonl") -> Path:
    path = folder / name
    text = json.dumps(rows) if name.endswith(".json") else "\n".join(map(json.dumps, rows)) + "\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


def texts(imported: Imported) -> list[list[tuple[str, ...]]]:
    """The rankings as tie groups of texts."""
    by_id = {answer.id: answer.text for _, answers in imported.items for answer in answers}
    return [
        [tuple(sorted(by_id[one] for one in group)) for group in ranking.groups]
        for ranking in imported.rankings
    ]


def turn(role: str, content: str) -> Row:
    return {"role": role, "content": content}


USER, GOOD, BAD = turn("user", "Hi?"), turn("assistant", "Yes."), turn("assistant", "No.")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Hi?", "chosen": "Yes.", "rejected": "No."},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "Hi?", "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"instruction": "Hi?", "input": "", "chosen": "Yes.", "rejected": "No."},
    ],
)
def test_every_spelling_of_a_preference_is_the_same_preference(tmp_path: Path, row: Row) -> None:
    made = read_file(written(tmp_path, [row]))
    assert (made.format, made.rows_read, made.kept, made.strict_pairs) == ("preferences", 1, 1, 1)
    assert [m.to_json() for m in made.items[0][0].messages] == [USER]
    assert texts(made) == [[("Yes.",), ("No.",)]]


GOOD_ROWS = [{"prompt": f"Question {n}?", "chosen": "Yes.", "rejected": "No."} for n in range(3)]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "Hi?", "chosen": "Yes."}, "no 'rejected'"),
        ({"prompt": "Hi?", "chosen": None, "rejected": "No."}, "no 'chosen'"),
        ({"chosen": "Yes.", "rejected": "No."}, "no 'prompt'"),
        ({"prompt": "Hi?", "chosen": "Yes.", "rejected": " Yes."}, "same text twice"),
        ({"prompt": "Hi?", "chosen": "Yes.", "rejected": " "}, "empty reply"),
        ({"prompt": " ", "chosen": "Yes.", "rejected": "No."}, "empty turn in the prompt"),
        ({"chosen": [USER, GOOD], "rejected": [turn("user", "Ho?"), BAD]}, "prompt differs"),
        ({"prompt": "Ho?", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, "prompt differs"),
        ({"chosen": [USER], "rejected": [USER]}, "no reply at the end"),
        ({"prompt": "Hi?", "chosen": 3, "rejected": 4}, "a reply is neither a text nor messages"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "the prompt is neither a text"),
        ({"prompt": [GOOD], "chosen": "a", "rejected": "b"}, "does not end in a user turn"),
        (GOOD_ROWS[0], "says what an earlier row says"),
    ],
)
def test_a_bad_row_is_counted_by_reason_and_named_by_line(
    tmp_path: Path, row: Row, reason: str
) -> None:
    made = read_file(written(tmp_path, [*GOOD_ROWS, row]))
    assert (made.rows_read, made.kept, len(made.rankings)) == (4, 3, 3)
    ((found, count),) = made.dropped.items()
    assert reason in found
    assert (count, made.lines[found]) == (1, (4,))
    assert f"dropped: 1 ({found}; line 4)" in made.summary().splitlines()


def test_two_opposite_votes_are_both_kept(tmp_path: Path) -> None:
    rows = [
        {"prompt": "Hi?", "chosen": "Yes.", "rejected": "No."},
        {"prompt": "Hi?", "chosen": "No.", "rejected": "Yes."},
    ]
    made = read_file(written(tmp_path, rows))
    assert (made.kept, len(made.items), len(made.rankings)) == (2, 1, 2)


def test_the_order_shown_does_not_tell_which_was_chosen(tmp_path: Path) -> None:
    rows = [
        {"prompt": f"Question {n}?", "chosen": f"Yes {n}.", "rejected": f"No {n}."}
        for n in range(200)
    ]
    made = read_file(written(tmp_path, rows))
    first = sum(ranking.shown[0] == ranking.groups[0][0] for ranking in made.rankings)
    assert 60 < first < 140


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz", "rows.json"])
def test_dialogues_are_read_from_every_kind_of_file(tmp_path: Path, name: str) -> None:
    start = "\n\nHuman: Hi?\n\nAssistant: Hello.\n\nAssistant: Go on.\n\nHuman: Well?\n\nAssistant:"
    row = {"chosen": f"{start} Yes.\n\nIndeed.", "rejected": f"{start} No. Human: stays text"}
    made = read_file(written(tmp_path, [row], name))
    assert made.format == "dialogues"
    assert [m.to_json() for m in made.items[0][0].messages] == [
        turn("user", "Hi?"),
        turn("assistant", "Hello.\n\nGo on."),
        turn("user", "Well?"),
    ]
    assert texts(made) == [[("Yes.\n\nIndeed.",), ("No. Human: stays text",)]]


@pytest.mark.parametrize(
    ("row", "groups"),
    [
        ({"prompt": "Hi?", "replies": ["a", "b", "c"]}, ["a", "b", "c"]),
        ({"prompt": "Hi?", "responses": ["a", "b", "c"], "ranks": [2, 1, 2]}, ["b", "ac"]),
        (
            {
                "prompt": [USER],
                "answers": [
                    {"text": "a", "rank": 3},
                    {"text": "b", "rank": None},
                    {"text": "c", "rank": 0.5},
                ],
            },
            ["c", "a"],
        ),
    ],
)
def test_ranked_lists(tmp_path: Path, row: Row, groups: list[str]) -> None:
    made = read_file(written(tmp_path, [row]))
    assert made.format == "ranked"
    assert texts(made) == [[tuple(group) for group in groups]]


def test_ranks_that_do_not_match_are_dropped(tmp_path: Path) -> None:
    good = [{"prompt": f"Hi {n}?", "replies": ["a", "b"]} for n in range(3)]
    rows = [
        *good,
        {"prompt": "Hi?", "replies": ["a", "b"], "ranks": [1]},
        {"prompt": "Hi?", "replies": ["a", "b"], "ranks": [1, None]},
    ]
    made = read_file(written(tmp_path, rows))
    assert made.dropped == {
        "as many ranks as replies are needed": 1,
        "fewer than two ranked replies": 1,
    }


def node(role: str, text: str, *replies: Row, rank: int | None = None, **more: Any) -> Row:
    return {"role": role, "text": text, "rank": rank, "replies": list(replies), **more}


def test_trees_give_every_ranked_group_with_its_path(tmp_path: Path) -> None:
    tree = node(
        "prompter",
        "Hi?",
        node(
            "assistant",
            "second",
            node(
                "prompter",
                "Well?",
                node("assistant", "x", rank=1),
                node("assistant", "y", rank=0),
                node("assistant", "never ranked"),
            ),
            rank=1,
        ),
        node("assistant", "first", rank=0, model_name="somebody"),
        node("assistant", "gone", rank=2, deleted=True),
    )
    alone = node("prompter", "Ho?", node("assistant", "a"), node("assistant", "b"))
    made = read_file(written(tmp_path, [{"message_tree_id": "1", "prompt": tree}, alone]))
    assert (made.format, made.rows_read, made.kept) == ("trees", 3, 2)
    assert made.dropped == {"unranked": 1}
    assert made.left_out == 2
    assert "left out of these: 2 without a rank or verdict" in made.summary()
    assert texts(made) == [[("first",), ("second",)], [("y",), ("x",)]]
    assert [m.content for m in made.items[1][0].messages] == ["Hi?", "second", "Well?"]
    assert [answer.model for answer in made.items[0][1]] == ["", "somebody"]


def test_annotators_give_a_ranking_each(tmp_path: Path) -> None:
    row = {
        "instruction": "Shorten.",
        "input": "A long text.",
        "cmp_key": "one_two",
        "response1": "a",
        "response2": "b",
        "annotator1": 1,
        "annotator2": 2,
        "annotator3": 0,
        "annotator4": None,
    }
    bad = {**row, "input": "Other.", "annotator2": True}
    made = read_file(written(tmp_path, [row, bad], "rows.json"))
    assert (made.format, made.dropped) == ("annotators", {"a verdict is not 0, 1 or 2": 1})
    assert made.left_out == 1
    assert texts(made) == [[("a",), ("b",)], [("b",), ("a",)], [("a", "b")]]
    assert [ranking.labeler_id for ranking in made.rankings] == [f"annotator{n}" for n in (1, 2, 3)]
    prompt, answers = made.items[0]
    assert prompt.text == "Shorten.\n\nA long text."
    assert [answer.model for answer in answers] == ["one", "two"]
    assert made.rankings[0].shown == tuple(answer.id for answer in answers)


def test_more_than_half_dropped_is_refused_with_the_reasons(tmp_path: Path) -> None:
    path = written(tmp_path, [GOOD_ROWS[0], {"chosen": "a"}, {"chosen": "b"}])
    with pytest.raises(ValueError, match=r"2 of 3 pairs .*no 'rejected': 2 \(lines 2, 3\)"):
        read_file(path)


def test_a_format_that_cannot_be_told_is_refused_with_the_keys(tmp_path: Path) -> None:
    path = written(tmp_path, [{"question": "Hi?", "label": 1}])
    with pytest.raises(ValueError, match="keys label, question") as caught:
        guess_format(path)
    assert all(name in str(caught.value) for name in FORMATS)
    with pytest.raises(ValueError, match="unknown format 'csv'"):
        read_file(path, format="csv")
    with pytest.raises(ValueError, match="no file at"):
        read_file(tmp_path / "absent.jsonl")
    with pytest.raises(ValueError, match="holds no rows"):
        read_file(written(tmp_path, [], "empty.json"))


def test_a_damaged_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "Hi?", "chosen": "a", "rejected": "b"}\n\n{"prompt": \n')
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 3: not JSON"):
        read_file(path)
    path.write_bytes(b'{"prompt": "Hi?"}\n\xff\xfe\n')
    with pytest.raises(ValueError, match="cannot be read"):
        read_file(path)
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b'{"a": 1}\n' * 10_000)[:-20])
    with pytest.raises(ValueError, match="cannot be read"):
        read_file(cut, format="ranked")


def published(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"the published file is not at {path}")
    return path


def test_the_counts_of_published_dialogues() -> None:
    made = read_file(published("hh-rlhf/harmless-base-test.jsonl.gz"))
    assert (made.format, made.rows_read, made.kept) == ("dialogues", 2312, 2303)
    assert made.dropped == {"prompt differs": 5, "empty reply": 4}
    assert len({prompt.id for prompt, _ in made.items}) == 2301


def test_the_counts_of_published_trees() -> None:
    made = read_file(published("oasst-en100/en_100_tree.jsonl"))
    assert (made.format, made.kept, made.strict_pairs, made.left_out) == ("trees", 212, 754, 1)
    assert made.dropped == {"unranked": 2}
    sizes = [len(answers) for _, answers in made.items]
    assert [sizes.count(2), sizes.count(3), sizes.count(4), max(sizes)] == [57, 117, 27, 9]


def test_the_counts_of_published_annotators() -> None:
    made = read_file(published("pandalm/testset-v1.json"))
    assert (made.format, made.rows_read) == ("annotators", 999)
    assert {ranking.labeler_id for ranking in made.rankings} == {f"annotator{n}" for n in (1, 2, 3)}
    assert made.dropped == {
        "says what an earlier row says": 101,
        "empty reply": 54,
        "a reply is not a text": 6,
    }
    assert made.kept == 999 - 161


def test_instruction_rows_with_a_preference() -> None:
    made = read_file(published("llms-from-scratch/instruction-data-with-preference.json"))
    assert (made.format, made.rows_read, made.kept) == ("preferences", 1100, 1094)
    assert made.dropped == {"same text twice": 6}
