"""What several commands take."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The run's YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="Overrides of the config."),
]
RunFolder = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run's folder, or its name under runs/.")
]
