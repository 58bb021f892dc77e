"""What the lead's page is sent: figures with their intervals, excerpts, nobody's login."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, select

from rlhf.data.identity import Json
from rlhf.data.records import Prompt
from rlhf.feedback.agreement import Interval, agreement_ceiling, agreement_over
from rlhf.feedback.campaigns import Campaign
from rlhf.feedback.coefficients import (
    Coefficient,
    alpha_over_pairs,
    alpha_over_places,
    kendall_tau,
)
from rlhf.feedback.database import Database
from rlhf.feedback.disagreement import agreement_by_time, disputes, hourly, work_votes
from rlhf.feedback.findings import findings
from rlhf.feedback.intervals import Share
from rlhf.feedback.items import load_texts
from rlhf.feedback.modes import MAX_RESPONSES
from rlhf.feedback.observations import Observations, Vote
from rlhf.feedback.quality import MINIMUM, judge
from rlhf.feedback.reviewing import is_reviewable
from rlhf.feedback.schema import answers, items, prompts
from rlhf.feedback.verdicts import Verdicts, verdicts_of

CHECKS = ("gold", "repeat", "identical")
EXCERPT = 160  # characters
POINTS = 60  # of the line of answers over time


def figure(
    value: float | None, interval: Interval | None, count: int, needed: int = 0, of: int = 0
) -> Json:
    """A figure; `value` is None where `of` cases are fewer than `needed`."""
    return {
        "value": value,
        "interval": interval and list(interval),
        "count": count,
        "of": of,
        "needed": needed,
    }


def _share(share: Share) -> Json:
    return figure(share.value, share.interval, share.count, share.needed, share.clusters)


def _coefficient(found: Coefficient) -> Json:
    return figure(found.value, found.interval, found.prompts)


def quality_json(database: Database, observed: Observations, campaign: Campaign) -> Json:
    """All that takes counting: agreement, labelers, findings, disputes."""
    votes = work_votes(observed)
    table = verdicts_of(votes)
    disputed = disputes(observed, votes, table)
    with database.reading() as db:
        texts = excerpts(db, [observed.items[one.item_id].prompt_id for one in disputed])
    return {
        "answers": len(observed.votes),
        "too_long": _too_long(observed),
        "checks": sum(observed.items[vote.item_id].kind in CHECKS for vote in observed.votes),
        "answers_by_time": _line(observed),
        "agreement": _agreement(votes, table.latest()),
        "agreement_by_time": [
            {
                "start": period.start,
                "end": period.end,
                "items": period.items,
                "value": period.agreement.strict,
                "interval": period.agreement.strict_interval,
            }
            for period in agreement_by_time(votes, table)
        ],
        "disputes": [
            {
                "item_id": one.item_id,
                "share": one.share,
                "pairs": one.pairs,
                "labelers": one.labelers,
                "review": one.review,
                "excerpt": texts[observed.items[one.item_id].prompt_id],
            }
            for one in disputed
        ],
        **_labelers(observed, campaign),
    }


def _too_long(observed: Observations) -> int:
    """Items that want answers and that no labeler is given: the page has no letters for so many
    responses.
    """
    made = Counter(vote.item_id for vote in observed.votes)
    return sum(
        len(item.response_ids) > MAX_RESPONSES and made[item.id] < item.wanted
        for item in observed.items.values()
    )


# Below this many prompts the agreement is too uncertain to say what it allows.
MIN_PROMPTS = 20


def _agreement(votes: Sequence[Vote], verdicts: Verdicts) -> Json:
    pairs = agreement_over(verdicts)
    return {
        "strict": figure(pairs.strict, pairs.strict_interval, pairs.pairs_strict, of=pairs.prompts),
        "with_ties": figure(pairs.with_ties, pairs.with_ties_interval, pairs.pairs),
        "alpha_pairs": _coefficient(alpha_over_pairs(verdicts)),
        "alpha_places": _coefficient(alpha_over_places(votes)),
        "tau": _coefficient(kendall_tau(verdicts)),
        "ceiling": agreement_ceiling(pairs.strict)
        if pairs.strict is not None and pairs.prompts >= MIN_PROMPTS
        else None,
        "prompts": pairs.prompts,
    }


def _labelers(observed: Observations, campaign: Campaign) -> Json:
    labelers, evidence = judge(observed)
    found = findings(evidence)
    by_labeler: dict[str, list[Vote]] = defaultdict(list)
    for vote in observed.votes:
        by_labeler[vote.labeler_id].append(vote)
    lease = campaign.settings.lease_minutes * 60
    rows = []
    for labeler in labelers:
        made = hourly(by_labeler[labeler.labeler_id], lease, MINIMUM)
        rows.append(
            {
                "labeler_id": labeler.labeler_id,
                "answers": labeler.answers,
                "hours": labeler.hours,
                "shares": {name: _share(share) for name, share in labeler.shares.items()},
                "seconds": _share(labeler.seconds),
                "words_per_minute": _share(labeler.words_per_minute),
                "per_hour": figure(
                    None if made is None else made.value,
                    None if made is None else made.interval,
                    labeler.answers,
                    MINIMUM,
                    labeler.answers,
                ),
            }
        )
    return {
        "labelers": rows,
        "findings": [
            {"labeler_id": one.labeler_id, "measure": one.measure, "sentence": one.sentence}
            for one in found
        ],
        "looked_at": len(evidence),
    }


def _line(observed: Observations) -> list[list[float]]:
    """(time, answers to work so far), in at most `POINTS` points."""
    times = sorted(
        vote.at for vote in observed.votes if observed.items[vote.item_id].kind == "work"
    )
    step = max(1, len(times) // POINTS)
    kept = [*range(0, len(times), step), len(times) - 1] if times else []
    return [[times[place], place + 1] for place in sorted(set(kept))]


def excerpts(db: Connection, prompt_ids: Sequence[str]) -> dict[str, str]:
    """How each prompt's last turn begins, by id."""
    rows = db.execute(select(prompts.c.body).where(prompts.c.id.in_(prompt_ids))).scalars()
    return {body["id"]: excerpt(Prompt.from_json(body).text) for body in rows}


def excerpt(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else f"{line[: EXCERPT - 1]}…"


def item_rows(
    db: Connection, campaign: Campaign, search: str, offset: int, limit: int
) -> tuple[int, list[Json]]:
    """How many items of work and gold have a prompt with the text `search` (or that number), and
    `limit` of them from `offset` on.
    """
    mine = and_(items.c.campaign_id == campaign.id, items.c.kind.in_(("work", "gold")))
    rows = db.execute(
        select(items, prompts.c.body)
        .join(prompts, prompts.c.id == items.c.prompt_id)
        .where(mine)
        .order_by(items.c.position, items.c.id)
    ).all()
    wanted = search.strip().casefold()
    found = [
        (row, text)
        for row in rows
        for text in [Prompt.from_json(row.body).text]
        if wanted in text.casefold() or wanted == str(row.id)
    ]
    shown = found[offset : offset + limit]
    counted = (
        select(answers.c.item_id, func.count())
        .where(answers.c.item_id.in_([row.id for row, _ in shown]), answers.c.superseded.is_(False))
        .group_by(answers.c.item_id)
    )
    made = {item: int(number) for item, number in db.execute(counted)}
    return len(found), [
        {
            "item_id": row.id,
            "kind": row.kind,
            "excerpt": excerpt(text),
            "wanted": row.wanted,
            "answers": made.get(row.id, 0),
            "priority": row.priority,
        }
        for row, text in shown
    ]


def item_json(db: Connection, campaign: Campaign, item_id: int) -> Json | None:
    """One item as the lead sees it: texts in one order for all, who said what; no model names."""
    mine = and_(items.c.campaign_id == campaign.id, items.c.id == item_id)
    item = db.execute(select(items).where(mine, items.c.kind.in_(("work", "gold")))).first()
    if item is None:
        return None
    prompt, texts = load_texts(db, item.prompt_id, item.response_ids)
    asked = select(items.c.id).where(items.c.of_item == item_id, items.c.kind == "review")
    review = db.execute(asked).scalar()
    return {
        "item_id": item.id,
        "kind": item.kind,
        "wanted": item.wanted,
        "priority": item.priority,
        "expected": item.expected,
        "turns": [turn.to_json() for turn in prompt.messages],
        "responses": [{"id": one.id, "text": one.text} for one in texts],
        "votes": _votes(db, item_id),
        "review": "" if review is None else "asked",
        "reviewable": is_reviewable(campaign),
        "verdict": [] if review is None else _votes(db, review),
    }


def _votes(db: Connection, item_id: int) -> list[Json]:
    kept = and_(
        answers.c.item_id == item_id, answers.c.superseded.is_(False), answers.c.body.is_not(None)
    )
    bodies = db.execute(select(answers.c.body).where(kept).order_by(answers.c.number)).scalars()
    return [_vote(body) for body in bodies]


def _vote(body: Json) -> Json:
    said: dict[str, Any] = {
        name: body.get(name)
        for name in ("labeler_id", "none_acceptable", "rationale", "submitted_at")
    }
    details = body.get("details") or {}
    shown = {name: details.get(name) for name in ("strength", "ratings", "flags")}
    return {**said, **shown, "groups": body.get("groups", []), "text": body.get("text")}
