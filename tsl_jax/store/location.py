"""Where a store is: anything Zarr can open becomes one Zarr store, a path in it, and a name for messages."""

import dataclasses
import os
import re
import warnings
from pathlib import Path
from typing import Any

import zarr
import zarr.errors
from zarr.abc.store import Store
from zarr.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore, ObjectStore, StorePath, WrapperStore, ZipStore

from .answers import cure_of, reason_of
from .errors import StoreError, StoreNotFoundError
from .event_loop import wait_for
from .local_files import WholeFiles
from .no_group import missing_bucket, outer_folder
from .refusals import if_there
from .urls import is_url, opened_url

#: A path, a zip file, a URL, a Zarr store object (with or without a path in it), or a Zarr group.
StoreLike = str | os.PathLike[str] | Store | StorePath | zarr.Group

#: Zarr warns of what is no array, such as the place of a lock before there is a ledger.
_NO_ARRAY = r"Object at (.*) is not recognized"


def arrays_of(group: zarr.Group) -> dict[str, zarr.Array]:
    """The arrays of a group by name.

    Raises:
        StoreError: the metadata of an array cannot be read.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            arrays = dict(sorted(group.arrays()))
        for name, array in arrays.items():
            _check_attributes(name, array)
    except Exception as error:
        damaged = "Restore the files zarr.json of its arrays; fits can also be begun anew, with overwrite=True"
        raise StoreError(
            f"{group.store_path}: its arrays cannot be read ({type(error).__name__}: {reason_of(error)}). "
            f"{cure_of(error) or damaged}."
        ) from error
    for warning in caught:
        unknown = re.match(_NO_ARRAY, str(warning.message))
        if unknown is not None and _is_damaged_array(group, unknown[1]):
            raise StoreError(
                f"{group.store_path}: the metadata of {unknown[1]!r} are lost or damaged. Restore the file "
                f"{unknown[1]}/zarr.json; fits can also be begun anew, with overwrite=True."
            )
    return arrays


def _check_attributes(name: str, node: zarr.Array | zarr.Group) -> None:
    """Zarr takes anything for attributes, and fails when one is asked for."""
    if not isinstance(node.metadata.attributes, dict):
        raise TypeError(f"attributes of {name} are {node.metadata.attributes!r}, not names with values")


def _is_damaged_array(group: zarr.Group, name: str) -> bool:
    """Whether what Zarr does not know holds metadata or chunks, unlike a lock or a user's folder."""
    store, place = group.store, "/".join(part for part in (group.path, name) if part)
    if wait_for(store.exists(f"{place}/zarr.json")):
        return True
    if not store.supports_listing or name.startswith("."):
        return False
    return any(name.partition(".")[0] == "c" for name in wait_for(_names(store, place)))


async def _names(store: Store, place: str) -> list[str]:
    return [name async for name in store.list_dir(place)]


@dataclasses.dataclass(frozen=True)
class Location:
    """A Zarr store, the path of a group in it ("" for its root), and its name in messages."""

    store: Store
    path: str
    name: str

    def key(self, inside: str) -> str:
        """The store's key of an object inside the group."""
        return f"{self.path}/{inside}" if self.path else inside

    @property
    def directory(self) -> Path | None:
        """The local directory of the group, if it is one."""
        return self.store.root / self.path if isinstance(self.store, LocalStore) else None

    def read_object(self, inside: str) -> bytes | None:
        """The content of an object inside the group; None where there is none."""
        content = wait_for(self.store.get(self.key(inside), default_buffer_prototype()))
        return None if content is None else content.to_bytes()

    def write_object(self, inside: str, content: bytes, *, unless_there: bool = False) -> None:
        """Write an object inside the group; ``unless_there``: where one is there that stays."""
        write = self.store.set_if_not_exists if unless_there else self.store.set
        wait_for(write(self.key(inside), default_buffer_prototype().buffer.from_bytes(content)))

    def delete_object(self, inside: str) -> None:
        """Delete an object inside the group, if there is one."""
        if wait_for(self.store.exists(self.key(inside))):
            wait_for(self.store.delete(self.key(inside)))

    @property
    def far(self) -> bool:
        """Whether each request takes a while, during which others can be answered."""
        store = self.store
        while isinstance(store, WrapperStore):
            store = store._store
        return isinstance(store, ObjectStore | FsspecStore)

    def open_group(self, mode: Any = "r") -> zarr.Group:
        """Open the Zarr group, or say that there is none.

        Raises:
            StoreNotFoundError: there is nothing there, or no Zarr group.
        """
        # Consolidated metadata is a copy that can be out of date; only a store that cannot be listed needs
        # it.
        consolidated = None if self.name.startswith(("http:", "https:")) else False
        try:
            group = zarr.open_group(self.store, path=self.path, mode=mode, use_consolidated=consolidated)
            _check_attributes("the group", group)
            return group
        except (FileNotFoundError, zarr.errors.ContainsArrayError) as error:
            if hint := self.import_hint():
                raise StoreNotFoundError(f"{self.name}: is no loss or fit store. {hint}.") from error
            if self.directory is not None and self.directory.is_file():
                raise StoreNotFoundError(
                    f"{self.name}: is a file, expected a directory, a zip file or a URL."
                ) from error
            if outer := outer_folder(self.store):
                raise StoreNotFoundError(
                    f"{self.name}: all that is in this zip file lies in its folder {outer!r}, expected zarr.json at "
                    f"its root. Zip what is in the folder, from inside: cd {outer!r}; zip -0 -r ../store.zip ."
                ) from error
            bucket = missing_bucket(self.store)
            if bucket is not None:
                raise self._unopened(bucket) from bucket
            raise StoreNotFoundError(
                f"{self.name}: no Zarr group here ({type(error).__name__}: {error}). Check the path; a store "
                "is a directory or a zip file with zarr.json at its root, or the URL of such a directory."
            ) from error
        except Exception as error:  # stores raise what they like: no rights, no network, broken JSON
            raise self._unopened(error) from error

    def import_hint(self) -> str | None:
        """The command that makes a store of what is here, if there is one; nothing of a place that is written."""
        if self.directory is None or not self.store.read_only or not self.directory.exists():
            return None
        from .imports.hints import import_command  # of what reads files through this module

        return import_command(self.directory, self.name)

    def _unopened(self, error: Exception) -> StoreError:
        damaged = (
            "Check the path, the rights and the connection; if they are right, its metadata is damaged: restore it"
        )
        what = f"{self.name}: cannot be opened ({type(error).__name__}: {reason_of(error)})"
        return StoreError(f"{what}. {cure_of(error) or damaged}.")

    def names(self) -> list[str]:
        """Names of all that lies in the group, in order."""
        return sorted(wait_for(_names(self.store, self.path)))

    def consolidate(self) -> None:
        """Copy the arrays' metadata into the group's; without it `xarray.open_zarr` warns and is slow."""
        with warnings.catch_warnings():
            # Zarr warns that the copy is no part of the format's specification; other readers do without it.
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            warnings.filterwarnings("ignore", message=_NO_ARRAY)
            zarr.consolidate_metadata(self.store, path=self.path)


def locate(store: StoreLike, *, writable: bool = False) -> Location:
    """Find what ``store`` names; nothing is read or written yet.

    Args:
        store: a path, a zip file (read only), a URL (``s3://``, ``gs://``, ``az://``, ``https://``,
            ``file://``, or any protocol of fsspec, such as ``memory://``), a Zarr store object or path, or a
            Zarr group.
        writable: whether it will be written.

    Raises:
        StoreError: the URL needs a package that is not installed, or ``store`` should be written but cannot
            be, or the system refuses to look at it.
        TypeError: ``store`` is none of these.
    """
    location = _locate(store, writable)
    if writable and isinstance(location.store, LocalStore):
        written = WholeFiles(location.store.root, read_only=location.store.read_only)
        location = dataclasses.replace(location, store=written)
    if writable and (location.store.read_only or not location.store.supports_writes):
        raise StoreError(
            f"{location.name}: cannot be written ({type(location.store).__name__}, read only). Write to a "
            "directory, an object store or a MemoryStore; a finished store can be zipped."
        )
    return location


def _locate(store: StoreLike, writable: bool) -> Location:
    if isinstance(store, zarr.Group):
        store = store.store_path
    if isinstance(store, StorePath):
        return Location(store.store, store.path, str(store))
    if isinstance(store, Store):
        return Location(store, "", str(store))
    if not isinstance(store, str | os.PathLike):
        cure = "; losses in memory are written to a store first: tsl_jax.import_losses(losses, path, steps=steps)"
        cure = cure if hasattr(store, "shape") or hasattr(store, "data_vars") or isinstance(store, list) else ""
        expected = f"a path, a URL, a Zarr store or a Zarr group{cure}"
        raise TypeError(f"store: got {type(store).__name__}, expected {expected}")
    text = os.fspath(store)
    if is_url(text):
        found = opened_url(text, writable)
        if isinstance(found, Store):
            return Location(found, "", text)
        text = found
    if not text:
        raise StoreError("store: got an empty path; give the path or URL of a store, '.' for the working directory")
    try:
        path = Path(text).expanduser().absolute()  # another process may work elsewhere
    except RuntimeError as error:
        raise StoreNotFoundError(
            f"{text}: there is no user of this name; give the whole path, or ./{text} for a folder of this name"
        ) from error
    try:
        with if_there():
            path.stat()
    except StoreError:
        raise  # a ValueError, too
    except ValueError as error:  # a NUL, or what the system's encoding has no bytes for
        raise StoreNotFoundError(f"{text!r}: is no path ({error}); give another name") from error
    if path.suffix == ".zip" and not path.is_dir():
        if not writable and not path.exists():
            raise StoreNotFoundError(f"{text}: no such file.")
        return Location(ZipStore(path, mode="r"), "", text)
    return Location(LocalStore(path, read_only=not writable), "", text)
