"""Files that the operating system refuses to show, for want of rights or because a disk fails: errors of the package.

What cannot be looked at is not known to be absent, and writing it again would not help.
"""

import contextlib
import errno
from collections.abc import Iterator

from .answers import cure_of, reason_of
from .errors import StoreError


@contextlib.contextmanager
def if_there() -> Iterator[None]:
    """Look at a file, and go on if there is none, nor a folder for it, or a link that leads nowhere or to itself.

    Raises:
        StoreError: the system refuses to show it.
    """
    try:
        yield
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise _refused(error, StoreError) from error


@contextlib.contextmanager
def readable(kind: type[StoreError] = StoreError) -> Iterator[None]:
    """Read files; errors of what is absent or damaged stay what they are.

    Raises:
        StoreError: the system refuses to show one, as an error of ``kind``.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, StoreError) or cure_of(error) is None:
            raise
        raise _refused(error, kind) from error


def _refused(error: OSError, kind: type[StoreError]) -> StoreError:
    place = "a file" if error.filename is None else error.filename
    cure = cure_of(error) or "Check the disk, or the connection to it,"
    reason = error.strerror or reason_of(error)
    return kind(f"{place}: cannot be looked at ({type(error).__name__}: {reason}). {cure} and try again.")
