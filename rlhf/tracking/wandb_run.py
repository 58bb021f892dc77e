"""A W&B run, started so that it prompts for nothing, prints nothing and waits for nobody.

Where there is no account, or the server does not answer, the run is logged offline.
"""

import logging
import os
import shutil
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from rlhf.data.identity import Json

INIT_SECONDS = 6.0
FINISH_SECONDS = 30.0
FINISH_WITH_MODELS_SECONDS = 600.0
QUIET = {
    "silent": True,
    "console": "off",
    "symlink": False,
    "use_dot_wandb": False,
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "disable_job_creation": True,
    "label_disable": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "init_timeout": INIT_SECONDS,
    # Seconds of figures that a killed stage may lose of its mirror.
    "x_transaction_log_flush_interval": 1.0,
}

log = logging.getLogger(__name__)
# Servers that did not answer: later stages of this process go offline without waiting again.
_unreachable: set[str] = set()


class WandbSettings(BaseModel, extra="forbid"):
    """How a run is mirrored. `auto` is online where an account is set up and WANDB_MODE says
    nothing else; the environment's `offline` and `disabled` win over `mode`.
    """

    enabled: bool = True
    project: str = "rlhf"
    entity: str | None = None
    mode: Literal["auto", "online", "offline"] = "auto"
    upload_models: bool = False


def load_wandb() -> str:
    """Imports W&B and loads its settings, once for the process; returns the server's address."""
    # W&B's own crash reports would leave the machine even where runs are logged offline.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb
    from wandb.sdk import wandb_setup

    setup = wandb_setup.singleton()
    if setup.settings_if_loaded is None:
        setup._update(wandb.Settings(silent=True))
    return str(setup.settings.base_url)


def logged_in() -> bool:
    """Whether there is an API key (environment, netrc or W&B's settings) or an identity token,
    found out without the network.

    Raises wandb.errors.AuthenticationError where one is there but malformed.
    """
    host = load_wandb()
    from wandb.sdk.lib import wbauth

    found = wbauth.authenticate_session(
        host=host, source="rlhf", prompt=False, update_session=False
    )
    return found is not None


def start_run(settings: WandbSettings, identity: Json) -> Any:
    """A W&B run with this identity (the arguments of `wandb.init` that say which run it is)."""
    base_url = load_wandb()
    if base_url not in _unreachable and _online(settings):
        before = _attempts(identity)
        try:
            return _init(identity, "online")
        except Exception as error:  # noqa: BLE001 - the server may be at fault in any way
            _unreachable.add(base_url)
            log.warning(
                "W&B at %s could not be reached (%s): this run is logged offline.",
                base_url,
                first_line(error),
            )
            abandon_service()
            # Empty, but they would look like runs to upload.
            for attempt in _attempts(identity) - before:
                shutil.rmtree(attempt)
    try:
        return _init(identity, "offline")
    except Exception:  # noqa: BLE001 - the service may have died in an earlier stage
        abandon_service()
        return _init(identity, "offline")


def publish(
    run: Any, artifact: Any, *, aliases: Sequence[str] = ("latest",), uses: bool = False
) -> None:
    """Hands an artifact over, as made by the run or as used by it.

    `Run.log_artifact` asks the server first and `Run.use_artifact` waits for it (and refuses
    offline): an outage would hold a trainer up at every table. This is what both do in the end.
    """
    artifact.finalize()
    run._interface.publish_artifact(
        run, artifact, aliases, is_user_created=True, use_after_commit=uses
    )


def finish_seconds(settings: WandbSettings) -> float:
    """How long the end of a run may take."""
    return FINISH_WITH_MODELS_SECONDS if settings.upload_models else FINISH_SECONDS


def end_run(settings: WandbSettings, run: Any, exit_code: int) -> None:
    """Ends a run. Raises TimeoutError where the server did not take the rest within the time that
    is allowed; the rest is on disk.
    """
    offline, written = run.settings._offline, Path(run.settings.sync_file)
    seconds = finish_seconds(settings)
    done: Future[None] = Future()

    def finish() -> None:
        try:
            done.set_result(run.finish(exit_code=exit_code))
        except BaseException as error:  # noqa: BLE001 - handed to the waiting thread
            done.set_exception(error)

    # W&B's own `finish_timeout` waits for artifacts for as long as the server is away.
    threading.Thread(target=finish, daemon=True).start()
    try:
        done.result(seconds)
    except TimeoutError as error:
        _unreachable.add(str(run.settings.base_url))
        abandon_service()
        raise TimeoutError(f"the server did not take the rest within {seconds:g} s") from error
    if not offline:
        # W&B's own mark for "all of this is on the server".
        written.with_suffix(".wandb.synced").touch()


def has_viewer() -> bool:
    """Whether W&B brings its terminal viewer (`wandb leet`)."""
    from wandb.cli.cli import cli

    return "leet" in cli.commands


def first_line(error: Exception) -> str:
    """An error in one line, for a warning."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _online(settings: WandbSettings) -> bool:
    told = os.environ.get("WANDB_MODE", "")
    if settings.mode == "offline" or told in {"offline", "dryrun"}:
        return False
    if logged_in():
        return True
    if "online" in {settings.mode, told}:
        log.warning(
            "W&B has no account on this machine, so the run is logged offline: log in with "
            "`wandb login` and upload it with `rlhf sync`."
        )
    return False


def _init(identity: Json, mode: Literal["online", "offline"]) -> Any:
    import wandb

    # Settings that begin with x_ may go in a later W&B; what is gone need not be switched off.
    known = {key: value for key, value in QUIET.items() if key in wandb.Settings.model_fields}
    run = wandb.init(
        **identity,
        mode=mode,
        resume="allow",
        reinit="create_new",
        settings=wandb.Settings(**known),
    )
    # W&B logs the artifact of a table by itself; see `publish`.
    run.log_artifact = lambda artifact: publish(run, artifact)
    return run


def abandon_service() -> None:
    """Ends W&B's service process without waiting for what it still wants to upload (its logs are on
    disk): it holds on to the ids of runs that it could not start or finish.
    """
    import wandb
    from wandb.sdk import wandb_setup

    connection = wandb_setup.singleton()._connection
    if connection is not None and connection._proc is not None:
        connection._proc._process.kill()
    try:
        wandb.teardown()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - it was killed, so it complains
        log.debug("W&B's service ended with %r", error)
    load_wandb()


def _attempts(identity: Json) -> set[Path]:
    return set(Path(identity["dir"], "wandb").glob(f"run-*-{identity['id']}*"))
