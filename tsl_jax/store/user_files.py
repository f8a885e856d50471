"""Single files that users ask for, such as pictures and tables: each is whole under its name, or is not there."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from .errors import writing
from .local_files import make_folder, whole_file
from .own_files import remove_partial_file


def write_file(path: str | os.PathLike[str], what: str, write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a name of its own, which becomes ``path`` when all is on the disk.

    What had the name before keeps it until then, and for good if the process is killed or the disk is full. Folders
    that are absent are made; a link stays one, and what it leads to is replaced.

    Args:
        path: of the file.
        what: it holds, in words.
        write: called with the open file.

    Raises:
        WriteError: it could not be written.

    Example:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(f"{folder}/a.txt", "a word", lambda file: file.write(b"whole"))
        ...     pathlib.Path(folder, "a.txt").read_text()
        'whole'
    """
    kept = "What was there under that name, if anything, is kept."
    with writing(os.fspath(path), what, kept=kept, again="run the same command again"):
        place = Path(os.path.realpath(path))
        make_folder(place.parent)
        remove_partial_file(place)
        with whole_file(place) as file:
            write(file)
