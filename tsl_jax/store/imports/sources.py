"""What a source is, by its name and by what lies there: which reader it needs."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..location import StoreLike
from ..schema import MissingChunks
from ..urls import is_url
from .bundles import LOSS_NAMES, Bundle, Wanted, losses_of_bundle, losses_of_checkpoints
from .files import FILES, ONLY, open_file
from .incoming import IncomingLosses
from .objects import is_path, losses_of_object
from .steps import step_in, steps_of_paths
from .table_losses import Frames, losses_of_tables
from .tables import TABLES, is_table
from .zarr_places import open_by_rank, open_zarr

#: What makes a folder a Zarr array or group.
_ZARR = ("zarr.json", ".zarray", ".zgroup")
KINDS = f"files {', '.join(FILES)}, tables {', '.join(TABLES[:4])}, Zarr, or folders of them"


def find_losses(
    source: Any, wanted: Wanted, *, missing_chunks: MissingChunks = "refuse", scratch: Path | None = None
) -> IncomingLosses:
    """Losses of anything that can be imported; no more than names, shapes and dtypes is read of arrays.

    Args:
        source: a path or URL, an object of Python, or several.
        wanted: what was said of it.
        missing_chunks: see `open_losses`.
        scratch: the folder in which temporary files may lie.

    Raises:
        StoreError: there is nothing, or nothing that can be imported.
    """
    paths = _paths(source)
    if paths is None:
        from zarr import Array, Group
        from zarr.abc.store import Store
        from zarr.storage import StorePath

        if isinstance(source, Store | StorePath | Group):
            return _zarr(source, str(source), wanted, missing_chunks)
        if isinstance(source, Array):
            return _zarr(source.store_path, str(source.store_path), wanted, missing_chunks)
        return losses_of_object(source, wanted, scratch)
    if len(paths) == 1 and isinstance(paths[0], str):
        return _zarr(paths[0], paths[0], wanted, missing_chunks)
    if any(isinstance(path, str) for path in paths):
        found = [(str(path), _zarr_bundle(path, missing_chunks)) for path in paths]
        return losses_of_checkpoints(f"{paths[0]} and {len(paths) - 1} more", found, _steps_of_urls(paths), wanted)
    local = [path for path in map(Path, paths) if _there(path)]
    name = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    if all(map(is_table, local)):
        steps = steps_of_paths(local) if len(local) > 1 or step_in(local[0].stem) is not None else [None]
        return losses_of_tables(Frames(name, local, steps, scratch, wanted.loss_columns), wanted)
    if len(local) > 1:
        found = [(str(path), _one(path, missing_chunks)) for path in local]
        return losses_of_checkpoints(name, found, steps_of_paths(local), wanted)
    return _place(local[0], name, wanted, missing_chunks, scratch)


def _paths(source: Any) -> list[str | Path] | None:
    """The paths that a source names, URLs as text; None if it is an object."""
    sources = source if isinstance(source, list | tuple) else [source]
    if not sources or not all(map(is_path, sources)):
        return None
    return [str(one) if is_url(os.fspath(one)) else Path(one).expanduser() for one in sources]


def _there(path: Path) -> bool:
    """Whether a path can be imported, by its ending or as a folder.

    Raises:
        StoreError: there is nothing, or a file of another kind.
    """
    if not path.exists():
        raise StoreError(f"{path}: no such file or folder; check the path")
    if not (path.is_file() or path.is_dir()):
        raise StoreError(f"{path}: is neither a file nor a folder; expected {KINDS}")
    if path.is_file() and not (path.suffix.lower() in FILES or is_table(path) or path.suffix == ".zip"):
        raise StoreError(f"{path}: is of no kind that can be imported; expected {KINDS}")
    return True


def _place(
    path: Path, name: str, wanted: Wanted, missing_chunks: MissingChunks, scratch: Path | None
) -> IncomingLosses:
    """One file or folder."""
    if path.is_file() and path.suffix != ".zip":
        bundle = open_file(path)
        if len(bundle) == 1 and "losses" in bundle and bundle["losses"].ndim == 1:
            return losses_of_checkpoints(name, [(path.stem, bundle)], steps_of_paths([path]), wanted)
        return losses_of_bundle(name, bundle, wanted)
    if path.is_file() or _is_zarr(path):
        return _zarr(path, name, wanted, missing_chunks)
    return _folder(path, name, wanted, missing_chunks, scratch)


def _folder(
    path: Path, name: str, wanted: Wanted, missing_chunks: MissingChunks, scratch: Path | None
) -> IncomingLosses:
    """A folder: NumPy files by name, tables, or a file or folder a checkpoint."""
    inside = _visible(path)
    files = [one for one in inside if one.suffix.lower() in FILES and one.is_file()]
    numbered = [one for one in inside if one.is_dir() and step_in(one.name) is not None and _has_arrays(one)]
    tables = [one for one in inside if is_table(one) and one.is_file()]
    if numbered and not any(one.stem in LOSS_NAMES for one in files):
        return losses_of_checkpoints(
            name,
            [(f"{name}/{one.name}", _one(one, missing_chunks)) for one in numbered],
            steps_of_paths(numbered),
            wanted,
        )
    own = [one for one in files if one.stem in LOSS_NAMES] or files
    if own != files and own[0].suffix != ".npy":
        return losses_of_bundle(name, open_file(own[0]), wanted)
    if own != files or len(files) == 1 or (files and all(one.suffix == ".npy" for one in files)):
        return losses_of_bundle(name, _named([one for one in files if one.suffix == own[0].suffix]), wanted)
    if files:
        found = [(one.name, open_file(one)) for one in files if step_in(one.stem) is not None or wanted.checkpoints]
        if not found:
            raise StoreError(f"{name}: none of its files ({_few(files)}) has a number in its name, the step")
        return losses_of_checkpoints(name, found, [step_in(Path(label).stem) for label, _ in found], wanted)
    if tables:
        steps = steps_of_paths(tables) if len(tables) > 1 else [step_in(tables[0].stem)]
        return losses_of_tables(Frames(name, tables, steps, scratch, wanted.loss_columns), wanted)
    held = f" but {_few(inside)}" if inside else ""
    raise StoreError(f"{name}: the folder holds nothing that can be imported{held}; expected {KINDS}")


def _one(path: Path, missing_chunks: MissingChunks) -> Bundle:
    """The arrays of one checkpoint."""
    if path.is_file() and path.suffix != ".zip":
        if is_table(path):
            raise StoreError(f"{path}: is a table among files of arrays; import tables and arrays apart")
        return open_file(path)
    if path.is_file() or _is_zarr(path):
        return _zarr_bundle(path, missing_chunks)
    files = [one for one in _visible(path) if one.suffix.lower() in FILES and one.is_file()]
    losses = [one for one in files if one.stem in LOSS_NAMES]
    zarrs = [one for one in _visible(path) if one.is_dir() and one.name.partition(".")[0] in LOSS_NAMES]
    if not losses and zarrs:
        return _one(zarrs[0], missing_chunks)
    if not files:
        raise StoreError(
            f"{path}: holds no losses of a checkpoint ({_few(_visible(path))}), expected losses.npy or the like"
        )
    if losses and losses[0].suffix != ".npy":
        return open_file(losses[0])
    return _named([one for one in files if one.suffix == ".npy"] or files)


def _named(files: Sequence[Path]) -> Bundle:
    """Arrays of several files: of NumPy files by their names, of others by their own."""
    found: dict[str, Any] = {}
    for path in files:
        arrays = open_file(path)
        if path.suffix == ".npy":
            found[path.stem] = arrays[ONLY]
        else:
            found |= arrays
    return found


def _has_arrays(path: Path) -> bool:
    return any(one.suffix.lower() in FILES or one.name in _ZARR or _is_zarr(one) for one in path.iterdir())


def _is_zarr(path: Path) -> bool:
    return path.is_dir() and any((path / one).exists() for one in _ZARR)


def _zarr_bundle(place: StoreLike, missing_chunks: MissingChunks) -> Bundle:
    """The arrays of one checkpoint in Zarr."""
    found = open_zarr(place, missing_chunks)
    if not isinstance(found, dict):
        raise StoreError(f"{place}: holds no Zarr arrays, expected those of one checkpoint; check the path or URL")
    return found


def _steps_of_urls(paths: Sequence[Any]) -> list[int | None]:
    return steps_of_paths([Path(str(path)) for path in paths])


def _zarr(place: StoreLike, name: str, wanted: Wanted, missing_chunks: MissingChunks) -> IncomingLosses:
    by_rank = open_by_rank(place)
    if by_rank is not None:
        if wanted != Wanted({}):
            raise StoreError(
                f"{name}: LossWriter recorded steps and arrays; leave out steps, array and transpose, expected none"
            )
        return by_rank
    found = open_zarr(place, missing_chunks)
    if found is None:
        raise StoreError(f"{name}: no Zarr array or group here; check the path or URL")
    if isinstance(found, dict):
        return losses_of_bundle(name, found, wanted)
    return losses_of_checkpoints(name, found, [step_in(label) for label, _ in found], wanted)


def _visible(path: Path) -> list[Path]:
    """What a folder holds, numbers in names in order."""

    def key(one: Path) -> list[Any]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", one.name)]

    return sorted((one for one in path.iterdir() if not one.name.startswith(".")), key=key)


def _few(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths[:4]) + (", ..." if len(paths) > 4 else "")
