"""What of a stage is, or would be, in W&B: its artifacts by name, and whether they went up."""

from dataclasses import asdict, dataclass

from rlhf.data.identity import Json
from rlhf.data.jsonl import read_json
from rlhf.tracking.lineage import Made
from rlhf.tracking.outputs import LISTING


@dataclass(frozen=True, slots=True)
class Published:
    """A W&B artifact of a stage: `project/name:alias` (with the entity before it, where the config
    names one). `uploaded` is False where it only waits in the run folder for `rlhf sync`.
    """

    artifact: str
    uploaded: bool

    def to_json(self) -> Json:
        return asdict(self)


def published(made: Made) -> list[Published]:
    """The artifacts of a stage, by its listings; a damaged listing is passed over, its name being
    that of its folder.
    """
    settings = made.run_config.get("wandb") or {}
    entity, project = settings.get("entity"), settings.get("project", "rlhf")
    up = _uploaded(made)
    found = []
    for listing in sorted(made.folder.glob(f"wandb/outputs/*/{LISTING}")):
        name = _name(made, listing.parent.name)
        where = "/".join(part for part in (entity, project, name) if part)
        found.append(Published(f"{where}:{made.folder.name[:128]}", up))
    return found


def _name(made: Made, folder: str) -> str:
    try:
        return str(read_json(made.folder / "wandb" / "outputs" / folder / LISTING)["name"])
    except (ValueError, KeyError, TypeError):
        return folder


def _uploaded(made: Made) -> bool:
    """A run logged online, or one that W&B has marked as synced."""
    online = any(made.folder.glob("wandb/run-*/*.wandb"))
    return online or any(made.folder.glob("wandb/*run-*/*.wandb.synced"))
