"""Folders that a `Trainer` of `transformers` saves its checkpoints in, and silence while they are loaded."""

import contextlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

from ..store import StoreError

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


def trainer_checkpoints(model: str) -> list[str]:
    """The checkpoints in the folder of a `Trainer`, by step; it warns of those without a whole model, left out.

    Raises:
        StoreError: there is none.

    Example:
        >>> import pathlib, tempfile
        >>> folder = pathlib.Path(tempfile.mkdtemp())
        >>> for name in ("checkpoint-1000", "checkpoint-200", "runs"):
        ...     (folder / name).mkdir()
        ...     _ = (folder / name / "config.json").write_text("{}")
        ...     _ = (folder / name / "model.safetensors").write_text("")
        >>> trainer_checkpoints(str(folder))
        ['checkpoint-200', 'checkpoint-1000']
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        raise StoreError(
            f"revisions: got none, and {model} is no folder; expected the revisions of a model on the Hub in order of "
            "training (--revisions step1000,step2000), or the folder that a Trainer saved its checkpoints in"
        )
    names = {int(match[1]): path.name for path in folder.iterdir() if (match := _CHECKPOINT.fullmatch(path.name))}
    whole = {step: name for step, name in names.items() if _is_model(folder / name)}
    if not whole:
        there = sorted(path.parent.name for path in folder.glob("*/config.json"))
        found = f"folders with a model are {', '.join(there)}: give them as revisions" if there else "it holds no model"
        adapters = any((folder / name / "adapter_config.json").exists() for name in names.values())
        found = "its checkpoints are adapters: merge each into its model and save it whole" if adapters else found
        raise StoreError(
            f"revisions: got none, and {model} has no checkpoint-* with a model, as a Trainer saves; {found}"
        )
    if len(whole) < len(names):
        left = ", ".join(names[step] for step in sorted(set(names) - set(whole)))
        warnings.warn(f"{model}: {left} holds no whole model, and is left out", stacklevel=3)
    return [whole[step] for step in sorted(whole)]


def _is_model(folder: Path) -> bool:
    weights = [path for pattern in ("*.safetensors", "*.bin") for path in folder.glob(pattern)]
    return (folder / "config.json").is_file() and any(path.name != "training_args.bin" for path in weights)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no log lines of `transformers` and of the Hub in the block; afterwards all is as before."""
    from huggingface_hub import utils as hub  # pyright: ignore[reportMissingImports]
    from transformers.utils import logging  # pyright: ignore[reportMissingImports]

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    hub_bars = not hub.are_progress_bars_disabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
        if hub_bars:
            hub.enable_progress_bars()
