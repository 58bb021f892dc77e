"""What a reader should be wary of: each check looks at the figures and speaks only where it is
true.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from rlhf.data.identity import Json
from rlhf.data.policies import TRAINED, policy_name
from rlhf.evaluation.spelling import listed
from rlhf.evaluation.suspicion import Suspect, suspects
from rlhf.evaluation.winrate import wilson, win_rate
from rlhf.reporting import reward_cautions as on_reward
from rlhf.reporting.caution import Caution
from rlhf.reporting.formatting import THIN, count, number, percent, percent_span, signed, with_span
from rlhf.reporting.liked import trained_in
from rlhf.reporting.measured import fitted, trail_name, trails
from rlhf.reporting.reading import RunRecord
from rlhf.reporting.samples import is_judged

LENGTH_CHANGE = 0.15
KL_NATS = 15.0
UNFINISHED = 0.05
FEW_PROMPTS = 100
FEW_OF_LIKE_LENGTH = 30


def cautions_of(run: RunRecord) -> list[Caution]:
    """Every check that fires, the gravest first."""
    return [caution for check in CHECKS for caution in check(run)]


def _policies(run: RunRecord) -> Iterator[tuple[str, Json, Json]]:
    """(name, its row, the row of SFT) of every trained policy."""
    rows = run.result("evaluate").get("policies", {})
    for name in TRAINED:
        if name in rows and "sft" in rows:
            yield policy_name(name), rows[name], rows["sft"]


def _dependent_judge(run: RunRecord) -> Iterator[Caution]:
    if not run.independent:
        judge = run.result("evaluate")["judge"]
        which = (
            "reward model that the policies were trained to please"
            if judge == "reward"
            else f"{judge}, a reward model from the same rankings that chose the checkpoints"
        )
        yield Caution(
            "The judge is not independent.",
            f"Win rates come from the {which}; let people, or a model that saw none of these "
            "rankings, compare the answers.",
        )


def _gamed_reward(run: RunRecord) -> Iterator[Caution]:
    if run.result("evaluate").get("judge") == "reward":
        return
    for name, row, sft in _policies(run):
        proxy = row["proxy_reward"] - sft["proxy_reward"]
        judged = row["gold_reward"] - sft["gold_reward"]
        if proxy > 0 >= judged:
            yield Caution(
                f"{name} may be gaming the reward model.",
                f"The reward model's score rose by {number(proxy)} over SFT, the judge's did not "
                f"({signed(judged)}).",
            )


def _suspicious(run: RunRecord) -> Iterator[Caution]:
    of_sft, by_chance = _objected(run, "sft")
    for name in trained_in(run):
        answers, found = _objected(run, name)
        if not answers or not of_sft:
            continue
        share, chance = len(found) / answers, len(by_chance) / of_sft
        if wilson(share, answers)[0] > wilson(chance, of_sft)[1]:
            rules = Counter(rule for one in found for rule in one.rules).most_common()
            yield Caution(
                f"{policy_name(name)} gives suspicious answers.",
                f"{len(found)} of {count(answers)} ("
                f"{listed([f'{rule}: {times}' for rule, times in rules])}), where SFT drawn again "
                f"gives {len(by_chance)}. They are listed below.",
            )


def _objected(run: RunRecord, policy: str) -> tuple[int, list[Suspect]]:
    """How many answers of a policy were judged, and those that a rule objects to."""
    return sum(policy in row["answers"] for row in run.answers), suspects(run.answers, [policy])


def _far_from_sft(run: RunRecord) -> Iterator[Caution]:
    for name, row, _ in _policies(run):
        if (row.get("kl") or 0.0) > KL_NATS:
            yield Caution(
                f"{name} is far from SFT.",
                f"{number(row['kl'], 1)} nats per answer, more than {KL_NATS:.0f}: out there the "
                "reward model is asked about texts unlike those that people ranked.",
            )


def _length(run: RunRecord) -> Iterator[Caution]:
    for longer, word in ((True, "longer"), (False, "shorter")):
        changed = [
            (name, row["mean_tokens"], sft["mean_tokens"])
            for name, row, sft in _policies(run)
            if abs(row["mean_tokens"] - sft["mean_tokens"]) > LENGTH_CHANGE * sft["mean_tokens"] > 0
            and (row["mean_tokens"] > sft["mean_tokens"]) == longer
        ]
        if changed:
            base = changed[0][2]
            rows = [
                f"{name} {t:.0f} ({signed(100 * (t / b - 1), 0)}{THIN}%)" for name, t, b in changed
            ]
            yield Caution(
                f"Answers got {word}.",
                f"SFT writes {base:.0f} tokens on average, {listed(rows)}.{_like_length(run)}",
            )


def _like_length(run: RunRecord) -> str:
    """The win rate of the policy that the verdict is on where its answer is about as long as SFT's.

    Two answers that say the same are as long as one another for that reason, and count for neither:
    with them, the comparisons of like length would be mostly ties.
    """
    best = run.best
    pairs = [
        (row["answers"][best], row["answers"]["reference"])
        for row in run.answers
        if {best, "reference"} <= row["answers"].keys() and is_judged(row, best)
    ]
    alike = [
        (ours["gold_reward"], theirs["gold_reward"])
        for ours, theirs in pairs
        if abs(ours["tokens"] - theirs["tokens"])
        <= LENGTH_CHANGE * max(ours["tokens"], theirs["tokens"])
        and ours["text"] != theirs["text"]
    ]
    if len(alike) < FEW_OF_LIKE_LENGTH:
        return ""
    won = win_rate([ours for ours, _ in alike], [theirs for _, theirs in alike])
    return (
        f" In the {count(len(alike), 'comparison')} where both answers are about as long (within "
        f"{percent(LENGTH_CHANGE)}) and not the same, {policy_name(best)} wins "
        f"{with_span(won.rate, (won.low, won.high))}."
    )


def _alarms(run: RunRecord) -> Iterator[Caution]:
    for said in run.result("ppo").get("alarms") or []:
        yield Caution("PPO raised an alarm on held-out prompts:", f"{said}.")


def _past_the_peak(run: RunRecord) -> Iterator[Caution]:
    for trail in trails(run):
        if trail.judge == "reward model":
            continue
        found = fitted(trail_name(trail), "", "rl", trail.kl, trail.gains)
        end = found.curve and found.curve.peak_high
        if end and end * end < trail.kl[-1]:
            yield Caution(
                f"{policy_name(trail.algorithm)} went past what its {trail.judge} likes best.",
                f"It ended at {number(trail.kl[-1], 1)} nats; {found.words} Stop earlier, or raise "
                "the KL coefficient.",
            )


def _unfinished(run: RunRecord) -> Iterator[Caution]:
    rows = run.result("evaluate").get("policies", {})
    cut = [
        f"{policy_name(name)} {percent(1 - rows[name]['finished_share'])}"
        for name in ("sft", *TRAINED)
        if name in rows and rows[name]["finished_share"] < 1 - UNFINISHED
    ]
    if cut:
        yield Caution(
            "Answers do not end by themselves.",
            f"The length limit cut off {listed(cut)} of the answers; raise sample.max_new_tokens, "
            "or look at how the end of an answer is trained.",
        )
    sampled = run.result("sample").get("finished_share", 1.0)
    if sampled < 1 - UNFINISHED:
        yield Caution(
            "Labelers ranked answers that were cut off.",
            f"{percent(1 - sampled)} of the sampled responses did not end by themselves.",
        )


def _cut_prompts(run: RunRecord) -> Iterator[Caution]:
    cut = {stage: run.result(stage).get("prompts_cut", 0) for stage in ("sft", "sample", *TRAINED)}
    said = [
        f"{many} {'in sampling' if stage == 'sample' else f'for {policy_name(stage)}'}"
        for stage, many in cut.items()
        if many
    ]
    if said:
        yield Caution(
            "Long prompts were cut.",
            f"They lost their oldest messages, or their first tokens: {listed(said)}. Raise "
            "model.max_tokens, or allow shorter answers.",
        )


def _uneven_judge(run: RunRecord) -> Iterator[Caution]:
    row = run.result("evaluate").get("policies", {}).get("sft")
    if row and not row["win_rate_low"] <= 0.5 <= row["win_rate_high"]:
        yield Caution(
            "SFT does not tie with itself.",
            f"A second draw of its answers wins {percent(row['win_rate'])} against the first "
            f"({percent_span(row['win_rate_low'], row['win_rate_high'])}): the draw that all are "
            "compared with is unlucky or lucky.",
        )


def _few_prompts(run: RunRecord) -> Iterator[Caution]:
    asked = run.result("evaluate").get("prompts", FEW_PROMPTS)
    if asked < FEW_PROMPTS:
        yield Caution(
            "Few held-out prompts.",
            f"{count(asked, 'comparison')} per policy: with fewer than {FEW_PROMPTS} an interval "
            "is wider than ten points to either side.",
        )


def _newer_stages(run: RunRecord) -> Iterator[Caution]:
    if run.newer:
        yield Caution(
            "This page is older than the run.",
            f"After the evaluation, {listed(run.newer)} ran again; the figures here are those of "
            "the earlier results.",
        )


def _damaged(run: RunRecord) -> Iterator[Caution]:
    for fault in run.faults:
        yield Caution("A file of the run is damaged.", f"{fault}.")


def _withdrawn(run: RunRecord) -> Iterator[Caution]:
    redacted = [stage for stage in run.stages.values() if stage.done.redacted]
    if redacted:
        people = {name for stage in redacted for name in (stage.done.redacted or {})["labelers"]}
        yield Caution(
            "Somebody withdrew what they had said.",
            f"It was taken out of {listed([stage.name for stage in redacted])} "
            f"({count(len(people), 'labeler')}); the models of this page still learned from it, "
            "and its figures count it. Give `rlhf run` again to make them without.",
        )


def _changed_code(run: RunRecord) -> Iterator[Caution]:
    codes = [stage.environment.get("code") or {} for stage in run.stages.values()]
    commits = sorted({code["commit"][:7] for code in codes if code.get("commit")})
    said = []
    if any(code.get("changed") for code in codes):
        said.append("the code had changes that are in no commit (kept in environment.json)")
    if len(commits) > 1:
        said.append(f"its stages ran at different commits ({listed(commits)})")
    if said:
        yield Caution("The run may be hard to repeat:", f"{listed(said)}.")


CHECKS: tuple[Callable[[RunRecord], Iterator[Caution]], ...] = (
    on_reward.length_trap,
    _dependent_judge,
    on_reward.unfit_reward,
    on_reward.left_out,
    _gamed_reward,
    _suspicious,
    _past_the_peak,
    _alarms,
    _far_from_sft,
    _length,
    _unfinished,
    _cut_prompts,
    _uneven_judge,
    on_reward.length_baseline,
    on_reward.overfit,
    on_reward.calibration,
    on_reward.agreement,
    _few_prompts,
    _newer_stages,
    _withdrawn,
    _damaged,
    _changed_code,
)
