"""Numbers that tell the input of a block from another, and its results from damaged ones."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class InputDigest:
    """What tells one input of a block from another.

    Args:
        sampled: digest of some of its rows, 63 bits.
        whole: CRC-32C of all of it: the losses, then the coordinates by name.
        objects: digest of what the store says of its objects (names, sizes, times), 63 bits; 0 where it says nothing.
    """

    sampled: int
    whole: int
    objects: int = 0


@dataclasses.dataclass(frozen=True)
class ResultDigest:
    """What tells the results of a block from damaged ones.

    Args:
        crc32c: of all arrays, by name.
        stored_bytes: of all its objects.
    """

    crc32c: int
    stored_bytes: int
