"""What can go wrong with a store. One base class; each error also inherits the built-in it is a case of."""

import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from ..terminal_text import printable
from .answers import cure_of, reason_of


class StoreError(ValueError):
    """Base of every error about a store: what is wrong, where, and the way out.

    What a store calls its arrays is in the message, with everything that a terminal would obey as an escape.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(printable(part) if isinstance(part, str) else part for part in arguments))

    def __reduce__(self) -> tuple[Any, ...]:
        """Errors of any class come out of another process as they were, whatever they were made with."""
        return _made_again, (type(self), self.args), self.__dict__


def _made_again(kind: type[StoreError], arguments: tuple[object, ...]) -> StoreError:
    error: Any = OSError.__new__(kind) if issubclass(kind, OSError) else kind.__new__(kind)
    error.args = arguments
    return error


@dataclasses.dataclass(frozen=True)
class Violation:
    """One thing about a store that breaks its schema, as data.

    Args:
        where: the array or attribute, such as ``"losses"`` or ``"attribute tsl_kind"``.
        what: what was found.
        expected: what the schema asks for.
        cure: the way out.
        level: ``"error"`` keeps the store from opening; ``"note"`` makes it slow or incomplete.
    """

    where: str
    what: str
    expected: str
    cure: str
    level: Literal["error", "note"] = "error"

    def __str__(self) -> str:
        return f"{self.where}: {self.what}; expected {self.expected}. {self.cure}"


class InvalidStoreError(StoreError):
    """A store breaks its schema; `violations` holds every way in which it does."""

    def __init__(self, name: str, kind: str, violations: Sequence[Violation]) -> None:
        self.violations = tuple(violations)
        listing = "\n".join(f"  - {violation}" for violation in violations)
        super().__init__(f"{name} is not a valid store of {kind}:\n{listing}")


class StoreNotFoundError(StoreError, FileNotFoundError):
    """Nothing that Zarr can open is where the store should be."""

    __str__ = Exception.__str__


class LockedError(StoreError, BlockingIOError):
    """Another run is writing the same output."""

    __str__ = Exception.__str__


class ChangedError(StoreError):
    """An unfinished output was begun from other input or with other options; `differences` says which."""

    def __init__(self, name: str, differences: Sequence[str], what: str = "fits") -> None:
        self.differences = tuple(differences)
        listing = "\n".join(f"  - {difference}" for difference in differences)
        super().__init__(
            f"{name} holds {what} that were begun otherwise:\n{listing}\n"
            "They are kept as they are. Go back to the same input and options, write to another output, delete this "
            "one, or pass overwrite=True to begin anew."
        )


#: The ways out of losses that cannot be read: `tsl rechunk` and `tsl fit` have these options, as their functions do.
BAD_CHUNK_CURE = (
    "Restore the chunk, or go on without its tokens with on_bad_chunk='skip' (--on-bad-chunk skip of tsl fit)."
)
NOT_STORED_CURE = (
    "If it was lost, restore it. If it was never written, because nothing was measured there, say so with "
    "missing_chunks='as-nan' (--missing-chunks as-nan of tsl fit, and of tsl rechunk, which writes a whole store)."
)
#: The same of a coordinate, which no fit can do without.
NOT_STORED_COORDINATE_CURE = (
    "If it was lost, restore it. If its writer leaves out chunks of zeros, say so with missing_chunks='as-fill' "
    "(--missing-chunks as-fill of tsl fit, and of tsl rechunk, which writes a whole store)."
)
#: The way out of fits that are lost or damaged.
DAMAGED_FITS_CURE = (
    "Run the tsl fit command that made these fits again with --deep (fit_store(..., deep=True)): it finds the blocks "
    "that are damaged and fits them anew."
)
#: The same of fits that are combined from several runs.
DAMAGED_COMBINED_CURE = (
    "Run the tsl compare command that wrote these fits with --out again, with --deep (combine_fits(..., deep=True)): "
    "it finds the blocks that are damaged and combines them anew."
)


@dataclasses.dataclass(frozen=True)
class BadChunk:
    """Rows of an array that could not be read.

    Args:
        array: name of the array.
        chunk: key of the stored object, such as ``"losses/c/3/0"``.
        start: first token lost.
        stop: one past the last token lost.
        reason: what reading said.
        absent: whether nothing is stored at all, as of rows that were never written.
        cure: the way out, where the store did not answer as it should: its objects may be as they were.
    """

    array: str
    chunk: str
    start: int
    stop: int
    reason: str
    absent: bool = False
    cure: str | None = None

    def __str__(self) -> str:
        return f"array {self.array!r}, chunk {self.chunk}, tokens {self.start} to {self.stop - 1}: {self.reason}"


class ChunkError(StoreError, OSError):
    """A chunk could not be read; `bad` says which and why, `name` of which store, `others` which others are lost."""

    def __init__(self, name: str, bad: BadChunk, cure: str | None = None, others: Sequence[BadChunk] = ()) -> None:
        self.name, self.bad, self.others = name, bad, tuple(others)
        cure = bad.cure or cure
        if cure is None and bad.absent:
            cure = NOT_STORED_CURE if bad.array == "losses" else NOT_STORED_COORDINATE_CURE
        found = str(bad)
        if others:
            shown = ", ".join(f"{one.chunk} (tokens {one.start} to {one.stop - 1})" for one in others[:3])
            more = ", ..." if len(others) > 3 else ""
            found = f"{1 + len(others)} chunks are lost or empty: {bad}; and {shown}{more}"
        super().__init__(
            f"{name}: {found}. {cure or (BAD_CHUNK_CURE if bad.array == 'losses' else 'Restore the chunk.')}"
        )

    __str__ = Exception.__str__


class ReadMemoryError(StoreError, MemoryError):
    """Reading asked for more memory than there is, of damaged metadata too; no rows are given up for it."""

    def __init__(self, name: str, start: int, stop: int) -> None:
        super().__init__(
            f"{name}: rows {start} to {stop - 1} ask for more memory than there is. Give less with memory= (--memory); "
            "if it is little already, the metadata of the array are damaged: restore its zarr.json."
        )

    __str__ = Exception.__str__


class WriteError(StoreError, OSError):
    """Something could not be written, for example because the disk is full; what was finished is kept."""

    __str__ = Exception.__str__


def storage_errors() -> tuple[type[Exception], ...]:
    """What a store raises when it fails: OSError and, where object stores are in use, obstore's own errors.

    Those are no OSError. Nothing is imported: an error can only come from a package that is loaded.
    """
    obstore = sys.modules.get("obstore.exceptions")
    return (OSError,) if obstore is None else (OSError, obstore.BaseError)


@contextlib.contextmanager
def writing(
    name: str,
    place: str,
    kept: str = "What was finished is kept.",
    again: str = "run the same command again to go on",
) -> Iterator[None]:
    """Turn a store's own errors into a `WriteError`; everything else, and what is one already, stays as it is.

    Args:
        name: of the store.
        place: what is being written.
        kept: what holds after a failure, as a sentence.
        again: the way on.
    """
    try:
        yield
    except StoreError:
        raise
    except storage_errors() as error:
        cure = cure_of(error, "write") or "Repair the output, or the connection to it,"
        raise WriteError(
            f"{name}: could not write {place}: {type(error).__name__}: {reason_of(error)}. {kept} {cure} and {again}."
        ) from error
