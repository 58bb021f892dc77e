"""Whether W&B is set up on this machine, found out without a prompt, a print or the network."""

import os


def start_wandb() -> str:
    """Imports W&B and loads its settings, once for the process; returns the server's address."""
    # W&B's own crash reports would leave the machine even where runs are logged offline.
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb
    from wandb.sdk import wandb_setup

    setup = wandb_setup.singleton()
    if setup.settings_if_loaded is None:
        setup._update(wandb.Settings(silent=True))
    return str(setup.settings.base_url)


def stop_wandb() -> None:
    """Ends W&B's service, which holds on to the id of a run that it could not start."""
    import wandb

    wandb.teardown()


def logged_in() -> bool:
    """Whether there is an API key (environment, netrc or W&B's settings) or an identity token.

    Raises wandb.errors.AuthenticationError where one is there but malformed.
    """
    from wandb.sdk.lib import wbauth

    found = wbauth.authenticate_session(
        host=start_wandb(), source="rlhf", prompt=False, update_session=False
    )
    return found is not None
