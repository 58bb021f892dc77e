"""Lines in the ledger of the test split for what measures the reward model on it. The evaluation,
which compares policies there, writes its own.
"""

from datetime import UTC, datetime

from labeling_app.labelers import default_labeler_id
from pipelines.stage import Work
from rlhf.data.jsonl import read_jsonl
from rlhf.evaluation.openings import Kind, Opening, prompts_digest, write_opening

OPENS: dict[str, Kind] = {"reward": "reward model", "certify": "certificate"}


def note_opening(work: Work, stage: str) -> None:
    """Leaves a line before a stage reads what people said about test prompts; none for a stage
    that does not, and where nobody ranked any.
    """
    if stage not in OPENS:
        return
    rows = read_jsonl(work.inputs["preferences"] / "ranked.jsonl")
    asked = [row["prompt"]["id"] for row in rows if row["prompt"]["split"] == "test"]
    if asked:
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
                policies=(),
                judge="",
                kind=OPENS[stage],
            ),
        )
