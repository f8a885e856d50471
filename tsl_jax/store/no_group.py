"""Why there may be no Zarr group where one is looked for."""

import zipfile

from zarr.abc.store import Store
from zarr.storage import ObjectStore, ZipStore

from .answers import is_missing_bucket
from .errors import storage_errors


def missing_bucket(store: Store) -> Exception | None:
    """What an object store says that lies in a bucket that does not exist; of a single object it says no more than that
    it is not there.
    """
    if not isinstance(store, ObjectStore):
        return None
    try:
        import obstore

        next(iter(obstore.list(store.store)), None)
    except storage_errors() as error:  # many stores that cannot be listed can be read
        return error if is_missing_bucket(error) else None
    return None


def outer_folder(store: Store) -> str | None:
    """The folder of a zip file that holds a Zarr group, where none is at its root; None if there is no such thing."""
    if not isinstance(store, ZipStore):
        return None
    with zipfile.ZipFile(store.path) as file:
        found = [name.removesuffix("/zarr.json") for name in file.namelist() if name.endswith("/zarr.json")]
    return min(found, key=len, default=None)
