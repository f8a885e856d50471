"""Files that a command will write at its end, looked at before its work."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .streams import output_console, say

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class OutputFileError(ValueError):
    """A file cannot be written where it should be: which, why, and what to give instead."""


def check_picture(path: Path | None, option: str = "--picture") -> None:
    """Raise if a picture cannot be written there; None stands for no picture.

    Raises:
        OutputFileError: see `check_file`.
    """
    if path is not None:
        from ..plots.style import picture_endings

        check_file(path, picture_endings(), option)


def write_picture(figure: "Figure", path: Path, said: dict[str, Any]) -> None:
    """Write a figure, say where, and note the file in what is said as JSON."""
    from ..plots.style import save

    save(figure, path)
    say(output_console(), f"Written: {path}", "green")
    said["picture"] = str(path)


def check_file(path: Path, endings: Collection[str], option: str) -> None:
    """Raise if a file cannot be written there. Nothing is made yet, neither the file nor a folder.

    Args:
        path: of the file.
        endings: that it may have, such as ``.png``; empty: any.
        option: what the command calls it.

    Raises:
        OutputFileError: another ending, a folder in its place, a file in place of its folder, or no right to write.
    """
    if endings and path.suffix.lower() not in endings:
        got = f"the ending {path.suffix!r}" if path.suffix else "no ending"
        raise OutputFileError(f"{option}: {path} has {got}, expected {' or '.join(sorted(endings))}; name it so")
    if path.is_dir():
        raise OutputFileError(f"{option}: {path} is a folder, expected a file; add a name to it")
    above = next(folder for folder in path.absolute().parents if os.path.lexists(folder))
    if not above.is_dir():
        raise OutputFileError(f"{option}: {above} is no folder, so {path} cannot be in it; give another place")
    there = path if path.exists() else above
    if not os.access(there, os.W_OK):
        raise OutputFileError(f"{option}: no right to write {there}; get it, or give another place")
