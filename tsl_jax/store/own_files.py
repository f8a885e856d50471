"""Which files of an output are the package's own: nothing else is ever removed."""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import StoreError, storage_errors
from .lease import LEASE_SECONDS
from .local_files import sync_folder, writer_lives, written_file
from .location import Location
from .presence import each_object
from .refusals import if_there

#: What the package writes beside the records of a ledger: see the modules on locks, leases, runs, snapshots, fitters.
_BESIDE = r"run|snapshot|lease(?:-[0-9a-f]{32})?|fitter-[0-9a-f]{16}"
#: The records themselves.
_RECORD = r"c\.\d+\.\d+"
#: What Zarr and the package write: metadata, chunks, and what lies beside records.
_OWN = re.compile(rf"(?:.+/)?(?:zarr\.json|c(?:/\d+)*|ledger/(?:\.lock|{_RECORD}|{_BESIDE}))")
#: Files of a store by the last part of their names.
_FILE = re.compile(rf"zarr\.json|\d+|c|{_RECORD}|{_BESIDE}")
#: What Zarr's own store calls a file while it writes it.
_ZARRS_PARTIAL = re.compile(rf"(?:zarr|\d+|c|c\.\d+|{_BESIDE})\.[0-9a-f]{{32}}\.partial")
_SHOWN = 3


def refuse_foreign_files(location: Location) -> set[str]:
    """Raise if there is anything at a place that the package does not write, such as a user's file.

    Returns:
        The names at the place below which there is anything but what a killed run left of a write.

    Raises:
        StoreError: the first few names.
    """
    prefix = f"{location.path}/" if location.path else ""
    names, foreign = set(), []
    with contextlib.suppress(*storage_errors(), NotImplementedError):  # what cannot be listed cannot be cleared either
        for key, _ in each_object(location.store, location.path):
            inside = key.removeprefix(prefix)
            if not _is_own(inside):
                foreign.append(inside)
            elif inside and not _is_partial(inside):
                names.add(inside.partition("/")[0])
            if len(foreign) == _SHOWN:
                break
    if foreign:
        raise StoreError(
            f"{location.name}: holds other files ({', '.join(sorted(foreign))}), which are kept; nothing was written. "
            "Give an empty or new place, or move them away."
        )
    return names


def remove_partial_files(location: Location) -> None:
    """Remove what writers left that were killed; files that a living one may be writing are kept.

    A writer of this machine is looked for by its process number. Of others nothing is known: what none of them has
    touched for `LEASE_SECONDS` is taken for left, as their leases are.
    """
    directory = location.directory
    if directory is None:
        return
    for folder, names in _partial_files(str(directory)):
        left = [Path(folder) / name for name in names if _is_partial(name) and _is_left(Path(folder) / name)]
        for path in left:
            path.unlink(missing_ok=True)
        if left:
            sync_folder(Path(folder))


def _partial_files(directory: str) -> Iterator[tuple[str, list[str]]]:
    """Folders with what may be unfinished files; of many chunks, each takes half a microsecond."""
    waiting = [directory]
    while waiting:
        folder, found = waiting.pop(), []
        with if_there(), os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(".partial"):
                    found.append(entry.name)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
        if found:
            yield folder, found


def remove_partial_file(path: Path) -> None:
    """Remove what killed writers left of one file."""
    for name in os.listdir(path.parent):
        if written_file(name) == path.name and _is_left(path.with_name(name)):
            path.with_name(name).unlink(missing_ok=True)


def _is_left(path: Path) -> bool:
    lives = writer_lives(path.name)
    if lives is not None:
        return not lives
    try:
        return time.time() - path.stat().st_mtime > LEASE_SECONDS
    except FileNotFoundError:  # it has got its right name
        return False


def _is_partial(key: str) -> bool:
    """Whether a file is what a writer has of a file of a store that is not whole."""
    name = key.rpartition("/")[2]
    return bool(_FILE.fullmatch(written_file(name) or "") or _ZARRS_PARTIAL.fullmatch(name))


def _is_own(key: str) -> bool:
    return not key or key.endswith("/") or bool(_OWN.fullmatch(key)) or _is_partial(key)  # "/": a folder, in S3's words
