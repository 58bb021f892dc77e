"""Lines in the ledger of the test split: whoever measures something on it leaves one first."""

from collections.abc import Iterable
from datetime import UTC, datetime

from labeling_app.labelers import default_labeler_id
from pipelines.stage import Work
from rlhf.evaluation.openings import Kind, Opening, prompts_digest, write_opening


def open_test_split(
    work: Work,
    prompt_ids: Iterable[str],
    kind: Kind = "evaluation",
    *,
    policies: tuple[str, ...] = (),
    judge: str = "",
) -> None:
    """Leaves a line before a stage looks at these test prompts, or at what was said about them;
    none where there are none.
    """
    asked = list(prompt_ids)
    if not asked:
        return
    write_opening(
        work.config.folder,
        Opening(
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            who=default_labeler_id(),
            run=work.config.name,
            round=work.folder.parents[1].name,
            fingerprint=work.folder.name,
            prompts=len(asked),
            prompts_digest=prompts_digest(asked),
            policies=policies,
            judge=judge,
            kind=kind,
        ),
    )
