"""Which files of an output are the package's own: nothing else is ever removed."""

import contextlib
import os
import re

from .errors import StoreError, storage_errors
from .location import Location
from .presence import each_object

#: What Zarr and the package write: metadata, chunks, and the locks of a run.
_OWN = re.compile(r"(?:.+/)?(?:zarr\.json|c(?:/\d+)*|ledger/\.lock|ledger/lease)")
#: A file that Zarr was writing when a run was killed: it is renamed once it is whole.
_PARTIAL = re.compile(r"(?:.+/)?(?:zarr|\d+|c|lease)\.[0-9a-f]{32}\.partial")
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
    """Remove what Zarr was writing when a run was killed."""
    directory = location.directory
    if directory is None:
        return
    for folder, _, names in os.walk(directory):
        for name in names:
            if _is_partial(name):
                os.unlink(os.path.join(folder, name))


def _is_partial(key: str) -> bool:
    """Whether a file is what a killed run left of a write."""
    return bool(_PARTIAL.fullmatch(key))


def _is_own(key: str) -> bool:
    return not key or key.endswith("/") or bool(_OWN.fullmatch(key)) or _is_partial(key)  # "/": a folder, in S3's words
