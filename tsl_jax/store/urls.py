"""Stores that are named by a URL."""

import re
from typing import Any
from urllib.parse import unquote, urlsplit

from zarr.abc.store import Store
from zarr.storage import FsspecStore, ObjectStore

from .answers import reason_of
from .errors import StoreError, storage_errors

#: ``scheme://...`` or, of fsspec, ``protocol::scheme://...``; all else is a path, colons or not.
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)(?:::[A-Za-z0-9+.:-]*)?://")
_OBJECT_STORES = {"s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss", "http", "https"}


def is_url(text: str) -> bool:
    """Whether a text names a URL; all else is a path, colons or not."""
    return bool(_URL.match(text))


def opened_url(url: str, writable: bool) -> Store | str:
    """The store that a URL names, or the path of one that names a file of this machine.

    Raises:
        StoreError: it needs a package that is not installed, or is no URL of a store.
    """
    scheme = url.partition("://")[0].partition("::")[0].lower()
    if scheme == "file":
        return _path_of(url)
    return _object_store(url, writable) if scheme in _OBJECT_STORES else _fsspec_store(url, writable)


def _object_store(url: str, writable: bool) -> Store:
    try:
        from obstore.store import from_url
    except ImportError as error:
        raise StoreError(
            f"{url}: object stores need the package obstore. Install it with: pip install 'tsl_jax[cloud]'"
        ) from error
    # Without this plain http is refused, in words that do not say so.
    more: Any = {"client_options": {"allow_http": True}} if url.startswith("http://") else {}
    try:
        return ObjectStore(from_url(url, **more), read_only=not writable)
    except (ValueError, *storage_errors()) as error:
        raise StoreError(
            f"{url}: is no URL of a store ({reason_of(error).splitlines()[0]}); expected one such as s3://bucket/path "
            "or https://host/path"
        ) from error


def _path_of(url: str) -> str:
    """The path that a URL of a file names."""
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise StoreError(f"{url}: names no file of this machine; expected three slashes, such as file:///data/x.zarr")
    return unquote(parts.path)


def _check_protocol(url: str, protocol: str) -> None:
    """Raise at one that fsspec does not know: in a chain it would be read as another path."""
    try:
        from fsspec import get_filesystem_class

        get_filesystem_class(protocol)
    except ImportError:
        return  # told where the package is needed
    except ValueError as error:
        raise StoreError(
            f"{url}: {protocol!r} is no protocol that fsspec knows; expected one such as s3, gs, https or memory"
        ) from error


def _fsspec_store(url: str, writable: bool) -> Store:
    for part in url.split("::"):
        _check_protocol(url, part.partition("://")[0])
    try:
        return FsspecStore.from_url(url, read_only=not writable)
    except ImportError as error:
        raise StoreError(
            f"{url}: this protocol needs the package fsspec and its part for the protocol ({error}). Install "
            "them, or pass an open Zarr store."
        ) from error
    except (ValueError, OSError) as error:
        raise StoreError(
            f"{url}: cannot be opened ({type(error).__name__}: {error}). Check the URL; a local path has no '://'."
        ) from error
