"""A campaign as files: exported, taken in and exported again, it is the same bytes."""

import json
from pathlib import Path

import pytest
from hands import answer, campaign, claimed, item
from postgres import fresh_database
from sqlalchemy import select

from rlhf.data.identity import canonical
from rlhf.data.records import Demonstration, Message, Prompt, Ranking, Response
from rlhf.feedback import leading
from rlhf.feedback.restoring import Restored, restore
from rlhf.feedback.schema import items, metadata
from rlhf.feedback.snapshot import FILES, Snapshot, write_snapshot
from rlhf.feedback.store import Campaign, Item, Judgement, Store
from rlhf.feedback.training_export import preferences_of, write_dataset, write_preferences


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a second store."""
    if request.param == "sqlite":
        return str(tmp_path / "other.db")
    return fresh_database(request.getfixturevalue("postgres_server"))


def busy_campaign(store: Store) -> Campaign:
    """Corrections, late answers, ties, checks of all kinds, a review, priorities, versions."""
    made = store.create_campaign(
        "main",
        guidelines="Be fair.\n\u202eΩ",
        settings={
            "gold_share": 0.2,
            "repeat_share": 0.2,
            "repeat_after": 1,
            "identical_share": 0.2,
        },
    )
    store.create_campaign("other")
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "And now?"))
    long = Prompt.of(turns, family="chat", split="train", demonstration="Now.")
    cut = tuple(Response.of(long.id, text, model="m", finished=False) for text in "xy")
    gold = item(90)
    ids = [response.id for response in gold.responses]
    store.add_items(
        made,
        [
            *(item(number, wanted=2) for number in range(8)),
            Item(long, cut),
            Item(gold.prompt, gold.responses, 1, 0.5, ((ids[0],), (ids[1], ids[2]))),
        ],
    )
    made = store.change_campaign(made, by="lea", guidelines="Be fairer.", note="fairness")
    with store.database.writing() as db:
        nine = db.execute(select(items.c.id).where(items.c.prompt_id == long.id)).scalar_one()
        leading.set_priorities(db, made, "lea", {nine: 2.25})
    for labeler in ("ada", "bob"):
        number = 0
        while (task := store.claim(made, labeler, now=0.0 if number == 1 else None)) is not None:
            ids = list(task.shown)
            groups = ((ids[0],), tuple(ids[1:])) if number % 2 else tuple((one,) for one in ids)
            for turn in range(1 + (number == 2)):
                said = Judgement(groups[::-1] if turn else groups, none_acceptable=number == 3)
                store.submit(
                    task.item_id,
                    labeler,
                    said,
                    submission_id=f"{labeler}-{number}-{turn}",
                    duration_seconds=number + 0.125,
                    rationale="because \U0001f600\n" * (number % 3),
                )
            number += 1
    assert store.open_reviews(made, below=1.1) > 0
    review = store.claim(made, "rae", review=True)
    assert review is not None
    answer(store, review, "review")
    return made


def exported(store: Store, made: Campaign, folder: Path) -> Snapshot:
    with store.database.reading() as db:
        return write_snapshot(db, made, folder)


def taken_in(store: Store, folder: Path, name: str | None = None) -> Restored:
    with store.database.writing() as db:
        return restore(db, folder, name)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_export_import_export_is_the_same_bytes(store: Store, other: str, tmp_path: Path) -> None:
    made = busy_campaign(store)
    snapshot = exported(store, made, tmp_path / "one")
    files = bytes_of(tmp_path / "one")
    assert sorted(files) == sorted([*FILES, "manifest.json"])
    with Store(other) as second:
        taken_in(second, tmp_path / "one")
        copy = second.campaign("main")
        exported(second, copy, tmp_path / "two")
        assert bytes_of(tmp_path / "two") == files
        assert sorted(second.rankings(copy), key=lambda one: one.id) == sorted(
            store.rankings(made), key=lambda one: one.id
        )
        assert list(second.items(copy)) == list(store.items(made))
        assert second.digest(copy) == store.digest(made)
        assert second.progress(copy, "ada") == store.progress(made, "ada")
        assert copy.settings == made.settings
        assert second.verify().findings == ()
        with pytest.raises(ValueError, match="holds a campaign 'main'"):
            taken_in(second, tmp_path / "one")
        assert taken_in(second, tmp_path / "one", "again").campaign == "again"
        assert second.progress(second.campaign("again")).done == second.progress(copy).done
    rankings = [json.loads(line) for line in files["rankings.jsonl"].splitlines()]
    assert len(rankings) == snapshot.rows["rankings.jsonl"]
    assert [row["id"] for row in rankings] == sorted(row["id"] for row in rankings)
    assert {row["labeler_id"] for row in rankings} == {"ada", "bob", "rae"}
    superseded = {row["id"] for row in rankings if row["superseded"]}
    assert superseded == {row["supersedes"] for row in rankings} - {None}
    assert len(superseded) == 2
    kinds = [json.loads(line)["kind"] for line in files["items.jsonl"].splitlines()]
    assert set(kinds) == {"work", "gold", "repeat", "identical", "review"}
    for name, content in files.items():
        for line in content.decode().splitlines():
            assert line == canonical(json.loads(line)), name


def test_demonstrations_travel_too(store: Store, other: str, tmp_path: Path) -> None:
    made = store.create_campaign("written", mode="demonstrate")
    prompts = [Prompt.of(f"Write {number}.") for number in range(3)]
    store.add_items(made, [Item(prompt, ()) for prompt in prompts])
    saved: list[Ranking | Demonstration] = []
    for number in range(3):
        task = claimed(store, made, "ada")
        said = Judgement(text=f"text {number}\u2028")
        saved.append(store.submit(task.item_id, "ada", said, submission_id=str(number)))
    exported(store, made, tmp_path / "one")
    with Store(other) as second:
        taken_in(second, tmp_path / "one")
        copy = second.campaign("written")
        assert second.demonstrations(copy) == saved
        exported(second, copy, tmp_path / "two")
    assert bytes_of(tmp_path / "one") == bytes_of(tmp_path / "two")


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_was_changed_is_refused_and_nothing_is_taken_in(
    tmp_path: Path, name: str
) -> None:
    with Store(tmp_path / "store.db") as store:
        exported(store, busy_campaign(store), tmp_path / "one")
    path = tmp_path / "one" / name
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1) + b" ")
    with Store(tmp_path / "other.db") as second:
        with pytest.raises(ValueError, match=f"{name} was changed after the export"):
            taken_in(second, tmp_path / "one")
        path.unlink()
        with pytest.raises(ValueError, match=f"{name} is missing"):
            taken_in(second, tmp_path / "one")
        with second.database.reading() as db:
            full = [t.name for t in metadata.tables.values() if db.execute(t.select()).first()]
    assert full == ["audit_head"]


@pytest.mark.parametrize(
    ("name", "old", "new", "refusal"),
    [
        ("prompts.jsonl", "Question 3?", "Query 3?", "prompt-.* was altered"),
        ("responses.jsonl", '"a 3"', '"z 3"', "response-.* was altered"),
        ("items.jsonl", '"wanted":2', '"wanted":"two"', "does not have the fields"),
        ("rankings.jsonl", '"labeler_id":"ada"', '"labeler_id":"eve"', "ranking-.* was altered"),
        ("rankings.jsonl", '"superseded":true', '"superseded":false', "wrongly marked"),
        ("rankings.jsonl", '"item":"', '"item":"x', "does not have the fields"),
        ("campaign.json", '"mode":"rank"', '"mode":"dance"', "no mode named 'dance'"),
    ],
)
def test_a_forged_row_is_refused_even_with_a_fitting_manifest(
    store: Store, tmp_path: Path, name: str, old: str, new: str, refusal: str
) -> None:
    exported(store, busy_campaign(store), tmp_path / "one")
    path, manifest = tmp_path / "one" / name, tmp_path / "one" / "manifest.json"
    before = json.loads(manifest.read_text())
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    from rlhf.data.identity import file_sha256

    before["files"][name]["sha256"] = file_sha256(path)
    manifest.write_text(json.dumps(before))
    with Store(tmp_path / "fresh.db") as second:
        with pytest.raises(ValueError, match=refusal):
            taken_in(second, tmp_path / "one")
        assert second.campaigns() == []
        assert second.verify().entries == 0


def test_an_export_replaces_nothing(store: Store, tmp_path: Path) -> None:
    made = campaign(store, 1)
    (tmp_path / "one").mkdir()
    exported(store, made, tmp_path / "one")
    before = bytes_of(tmp_path / "one")
    with pytest.raises(ValueError, match="is not empty"):
        exported(store, made, tmp_path / "one")
    assert bytes_of(tmp_path / "one") == before
    with pytest.raises(ValueError, match="no exported campaign"):
        taken_in(store, tmp_path)


# Rows for other trainers


def small_campaign(store: Store) -> Campaign:
    """Ada: a > b > c, corrected once. Bob: a = b > c, none acceptable, says why. Then x > y."""
    made = campaign(store, 1, wanted=2)
    task = claimed(store, made, "ada")
    answer(store, task, "wrong", "cba")
    answer(store, task, "right", "abc")
    task = claimed(store, made, "bob")
    a, b, c = sorted(task.responses, key=lambda one: one.text)
    said = Judgement(((a.id, b.id), (c.id,)), none_acceptable=True)
    store.submit(task.item_id, "bob", said, submission_id="bob", rationale="both do")
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "And now?"))
    prompt = Prompt.of(turns)
    store.add_items(made, [Item(prompt, tuple(Response.of(prompt.id, text) for text in "xy"))])
    answer(store, claimed(store, made, "ada"), "turns", "xy")
    return made


def test_preferences_are_the_strict_pairs_and_say_what_they_lose(store: Store) -> None:
    found = preferences_of(store, small_campaign(store))
    pairs = [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in found.rows]
    assert pairs == [
        ("a 0", "b 0"),
        ("a 0", "c 0"),
        ("b 0", "c 0"),
        ("a 0", "c 0"),
        ("b 0", "c 0"),
        ("x", "y"),
    ]
    assert found.rows[0]["prompt"] == [{"role": "user", "content": "Question 0?"}]
    assert len(found.rows[-1]["prompt"]) == 3
    assert {name: count for name, count in found.lost.items() if count} == {
        "ties": 1,
        "judgements that none is acceptable": 1,
        "orders shown, labelers and times": 3,
        "rationales": 1,
        "rankings that were corrected or settled by a review": 1,
    }
    assert "ada" not in str(found.rows)


def test_plain_preferences_leave_conversations_out(store: Store, tmp_path: Path) -> None:
    found = preferences_of(store, small_campaign(store), "plain")
    assert found.lost["pairs of conversations with several turns"] == 1
    assert len(found.rows) == 5
    assert {key: found.rows[0][key] for key in ("prompt", "chosen", "rejected")} == {
        "prompt": "Question 0?",
        "chosen": "a 0",
        "rejected": "b 0",
    }
    write_preferences(found, tmp_path / "rows.jsonl")
    lines = (tmp_path / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == list(found.rows)
    with pytest.raises(ValueError, match="is there already"):
        write_preferences(found, tmp_path / "rows.jsonl")


def test_a_datasets_folder_loads_again(tmp_path: Path) -> None:
    from datasets import load_from_disk

    with Store(tmp_path / "store.db") as store:
        found = preferences_of(store, small_campaign(store))
    write_dataset(found, tmp_path / "rows")
    loaded = load_from_disk(str(tmp_path / "rows"))
    assert loaded.to_list() == list(found.rows)


def test_what_gives_no_preferences_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="no pairs"):
        preferences_of(store, campaign(store, 1))
    with pytest.raises(ValueError, match="'evaluate', which gives no preferences"):
        preferences_of(store, store.create_campaign("judged", mode="evaluate"))
