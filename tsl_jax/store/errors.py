"""What can go wrong with a store. One base class; each error also inherits the built-in it is a case of."""

import dataclasses
from collections.abc import Sequence
from typing import Literal


class StoreError(ValueError):
    """Base of every error about a store: what is wrong, where, and the way out."""


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

    def __init__(self, name: str, differences: Sequence[str]) -> None:
        self.differences = tuple(differences)
        listing = "\n".join(f"  - {difference}" for difference in differences)
        super().__init__(
            f"{name} holds fits that were begun otherwise:\n{listing}\n"
            "Go back to the same input and options, write to another output, delete this one, "
            "or pass overwrite=True to begin anew."
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
    """

    array: str
    chunk: str
    start: int
    stop: int
    reason: str

    def __str__(self) -> str:
        return f"array {self.array!r}, chunk {self.chunk}, tokens {self.start} to {self.stop - 1}: {self.reason}"


class ChunkError(StoreError, OSError):
    """A chunk could not be read; `bad` says which and why."""

    def __init__(self, name: str, bad: BadChunk) -> None:
        self.bad = bad
        super().__init__(
            f"{name}: {bad}. Restore the chunk, or go on without its tokens with on_bad_chunk='skip' "
            "(--on-bad-chunk skip)."
        )

    __str__ = Exception.__str__


class WriteError(StoreError, OSError):
    """A block of results could not be written, for example because the disk is full."""

    __str__ = Exception.__str__
