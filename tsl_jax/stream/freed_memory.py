"""Memory that a worker frees is kept for its next block: mapped anew, every page of it would be cleared again."""

import contextlib
import ctypes
import os

#: What Dask's nannies tell glibc (bytes of free memory that a process may keep) unless the user tells them another.
_OF_DASK = ("MALLOC_TRIM_THRESHOLD_", "65536")
#: Numbers of glibc's ``mallopt``, and what glibc itself comes to once large arrays have come and gone: an array from
#: this size on is mapped by itself, and twice that may lie free.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _LARGE = -1, -3, 2**25


def keep_freed_memory() -> None:
    """In a worker: let glibc keep what arrays of a block leave behind, where only Dask's default speaks against it.

    A process keeps up to 64 MiB more; a fit on two workers takes a seventh of its CPU time less. Where the user has
    chosen ``MALLOC_TRIM_THRESHOLD_``, or there is no glibc, all stays as it is.
    """
    name, value = _OF_DASK
    if os.environ.get(name) == value:
        with contextlib.suppress(OSError, AttributeError, TypeError):  # the last on Windows, for None
            mallopt = ctypes.CDLL(None).mallopt
            mallopt(_MMAP_THRESHOLD, _LARGE)
            mallopt(_TRIM_THRESHOLD, 2 * _LARGE)
