"""Simulated labelers: the same every time, also when they were stopped half-way; better the more
careful.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from rlhf.data.records import Prompt, Ranking, Response
from rlhf.feedback.pairs import comparisons
from rlhf.feedback.store import Campaign, Item, Store
from rlhf.simulation.gold import judge
from rlhf.simulation.labelers import crew, label
from rlhf.simulation.world import ANYBODY, requests, write


def gold(prompt: Prompt, response: Response) -> float:
    return judge(prompt.text, response.text).reward


def items(count: int, wanted: int = 1) -> list[Item]:
    made = []
    for prompt in requests(count, seed=2):
        texts = {write(prompt.text, ANYBODY, seed=seed) for seed in range(12)}
        responses = [Response.of(prompt.id, text) for text in sorted(texts)[:4]]
        made.append(Item(prompt, tuple(responses), wanted))
    return made


def campaign_in(path: Path, what: list[Item]) -> tuple[Store, Campaign]:
    store = Store(path)
    campaign = store.create_campaign("simulated")
    store.add_items(campaign, what)
    return store, campaign


def test_a_crew_ranks_everything_and_repeats_exactly(tmp_path: Path) -> None:
    found = []
    for name in ("a.db", "b.db"):
        store, campaign = campaign_in(tmp_path / name, items(20, wanted=2))
        with store:
            assert label(store, campaign, crew(2, 1, 1), gold, seed=7) == 40
            found.append(store.rankings(campaign))
    assert found[0] == found[1]
    assert {ranking.labeler_id for ranking in found[0]} == {f"labeler-0{n}" for n in range(1, 5)}


class StoppedError(Exception):
    pass


def stop_at(count: int) -> Callable[[int], None]:
    def progress(done: int) -> None:
        if done == count:
            raise StoppedError

    return progress


@pytest.mark.parametrize("count", [1, 13, 39])
def test_a_crew_that_was_stopped_goes_on_as_if_not(count: int, tmp_path: Path) -> None:
    whole, campaign = campaign_in(tmp_path / "whole.db", items(20, wanted=2))
    with whole:
        label(whole, campaign, crew(2, 1, 1), gold, seed=7)
        expected = whole.rankings(campaign)
    stopped, campaign = campaign_in(tmp_path / "stopped.db", items(20, wanted=2))
    with stopped:
        with pytest.raises(StoppedError):
            label(stopped, campaign, crew(2, 1, 1), gold, seed=7, progress=stop_at(count))
        label(stopped, campaign, crew(2, 1, 1), gold, seed=7)
        assert stopped.rankings(campaign) == expected


def accuracy(rankings: list[Ranking], what: list[Item]) -> float:
    worth = {r.id: gold(item.prompt, r) for item in what for r in item.responses}
    votes = [
        worth[better] > worth[worse]
        for ranking in rankings
        for better, worse, margin in comparisons(ranking)
        if margin and worth[better] != worth[worse]
    ]
    return sum(votes) / len(votes)


def test_careful_ones_agree_with_gold_most_and_hurried_ones_are_quickest(tmp_path: Path) -> None:
    what = items(150)
    right, seconds = {}, {}
    for temper, members in {
        "careful": (1, 0, 0),
        "careless": (0, 1, 0),
        "hurried": (0, 0, 1),
    }.items():
        store, campaign = campaign_in(tmp_path / f"{temper}.db", what)
        with store:
            label(store, campaign, crew(*members), gold, seed=3)
            rankings = store.rankings(campaign)
        right[temper] = accuracy(rankings, what)
        seconds[temper] = sum(ranking.duration_seconds for ranking in rankings)
    assert right["careful"] > 0.85
    assert right["careful"] > right["hurried"] > 0.55
    assert right["careful"] > right["careless"] > 0.55
    assert seconds["hurried"] < seconds["careless"] < seconds["careful"]
