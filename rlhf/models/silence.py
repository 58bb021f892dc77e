"""Keeps the libraries from talking over our own progress."""

import logging
import warnings


def silence_libraries() -> None:
    """Turns off the progress bars and advice of transformers and datasets for this process; errors
    still show.
    """
    import datasets
    from transformers.utils import logging as transformers_logging

    datasets.disable_progress_bars()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("accelerate").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers|trl|peft")
