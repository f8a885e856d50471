"""What is sent to other processes: names that they find, and objects that pickle takes along."""

import concurrent.futures
import contextlib
import os
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..store import StoreError, StoreLike, StoreNotFoundError
from ..store.urls import is_url


def from_anywhere(name: str, store: StoreLike) -> str:
    """A store, or another source, as another process finds it: a URL, or a path from the root on.

    Raises:
        StoreError: it is in this process alone.
    """
    if not isinstance(store, str | os.PathLike):
        raise StoreError(
            f"{name}: got a {type(store).__name__}, which other processes do not see; give a path on a file "
            "system that all of them share, or a URL"
        )
    text = os.fspath(store)
    return text if is_url(text) else str(Path(text).expanduser().absolute())


@contextlib.contextmanager
def seen_from_here() -> Iterator[None]:
    """Say what it means when a worker finds no store."""
    try:
        yield
    except StoreNotFoundError as error:
        raise StoreNotFoundError(
            f"{error} This worker does not see it: give a path on a file system that all workers share, or a URL."
        ) from error


def check_sent(name: str, value: Any, dumps: Callable[[Any], bytes]) -> None:
    """Raise if something cannot be sent to workers.

    Args:
        name: what messages call it.
        value: what is to be sent.
        dumps: what the workers' engine sends with; see `dumps_of`.

    Raises:
        StoreError: its name, why, and the way out.
    """
    try:
        dumps(value)
    except Exception as error:  # whatever an object of the user's raises
        why = f"{type(error).__name__}: {error}"
        raise StoreError(f"{name}: {value!r} cannot be sent to workers ({why}). {CURE}") from error


#: The way out of what cannot be sent.
CURE = (
    "Define it at the top of a module that they can import; a Dask client takes functions and classes of a script or "
    "notebook along, an executor of processes does not."
)


def dumps_of(executor: concurrent.futures.Executor) -> Callable[[Any], bytes]:
    """What an executor sends things with: Python's pickle in the standard library's, cloudpickle in most others."""
    if not type(executor).__module__.startswith("concurrent.futures"):
        with contextlib.suppress(ImportError):
            import cloudpickle

            return cloudpickle.dumps
    return _pickled


def _pickled(value: Any) -> bytes:
    """Python's pickle; classes of a ``__main__`` that no other process can run again are named."""
    main = sys.modules["__main__"]
    if type(value).__module__ == "__main__" and not hasattr(main, "__file__"):
        raise pickle.PicklingError(f"its class {type(value).__qualname__} is known in this process alone")
    return pickle.dumps(value)
