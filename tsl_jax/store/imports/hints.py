"""The command that would import what was given in place of a store."""

import shlex
from pathlib import Path

from ..errors import StoreError
from ..refusals import readable
from ..schema import LEDGER
from .bundles import LOSS_NAMES, Wanted
from .files import FILES
from .sources import find_losses
from .steps import GIVE_STEPS, STEP_NAMES
from .table_losses import TOKEN_NAMES, Frames
from .tables import TABLES, is_table

#: What a name is left without for the name of the store.
_ENDINGS = (*TABLES, *FILES, ".zarr", ".zip")


def import_command(path: Path, name: str) -> str | None:
    """What a file or folder is that is no store, and the command that makes one of it; None if none does.

    Args:
        path: where it is.
        name: what the user called it.
    """
    if path.is_file() and is_table(path):
        return _of_table(path, name)
    if path.is_file() and path.suffix.lower() not in FILES:
        return None
    if (path / LEDGER).exists():  # fits whose metadata are lost
        return None
    try:
        with readable():
            find_losses(path, Wanted({}))
    except StoreError as error:
        if GIVE_STEPS in str(error):
            return _said(name, " --steps FILE") + ", where FILE has the training step of each checkpoint, one a line"
        return _said(name) if path.is_file() else None
    return _said(name)


def _of_table(path: Path, name: str) -> str | None:
    try:
        names = set(next(iter(Frames(name, [path], [None], None))))
    except StoreError:
        return _said(name)
    curve = names & set(STEP_NAMES) and names & set(LOSS_NAMES)
    if curve and not names & {*TOKEN_NAMES, "sequence"}:
        return "It seems to be a loss curve (a row a step), which tsl forecast and tsl timescale take"
    return _said(name)


def _said(name: str, more: str = "") -> str:
    return f"If it holds losses of tokens, make a loss store of it: tsl import {shlex.quote(name)} {_out(name)}{more}"


def _out(name: str) -> str:
    """A name for the store that is not taken."""
    stem = name.rstrip("/")
    for ending in _ENDINGS:
        stem = stem[: -len(ending)] if stem.lower().endswith(ending) else stem
    stem = stem or "losses"
    out = f"{stem}.zarr"
    return shlex.quote(out if not Path(out).exists() and out != name.rstrip("/") else f"{stem}-losses.zarr")
