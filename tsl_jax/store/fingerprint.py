"""What a fit was made from, so that a resumed run on other input is refused.

Shapes, axes, coordinates and attributes are kept whole (or as a hash) in the fit store's attribute ``input``. The
losses and token coordinates are told by three numbers a block, made while the block is in memory and kept in the
ledger (`InputDigest`). A resumed run makes the digest of some rows (of up to three pieces) again for up to
`SAMPLED_BLOCKS` finished blocks. The whole block is read and its checksum compared where that digest is another (in
another layout the pieces lie elsewhere), where what the store says of the block's objects (sizes, times, ETags) is no
longer what it was, and where it says nothing. A copy, another compression and another layout of the same losses are the
same input.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import zarr

from .absent import row_ranges
from .checksum import crc32c
from .errors import ChunkError
from .far_requests import at_once
from .ledger import BlockState, InputDigest, Ledger
from .losses import LossStore
from .presence import ChunkKeys, Objects

SAMPLED_BLOCKS = 16
_PIECE_TOKENS = 4096


def describe_input(losses: LossStore) -> dict[str, Any]:
    """What must not change of a loss store while its fits are made, apart from the losses themselves."""
    return {
        "shape": list(losses.losses.shape),
        "dtype": str(losses.losses.dtype),
        "checkpoint_coordinates": {
            name: _sha256(values.tobytes(), str(values.dtype).encode())
            for name, values in losses.checkpoint_coordinates.items()
        },
        "token_coordinates": {name: str(array.dtype) for name, array in losses.token_coordinates.items()},
        "attributes": _sha256(json.dumps(dict(losses.attributes), sort_keys=True).encode()),
    }


def sampled_rows(losses: LossStore, start: int, stop: int) -> list[tuple[int, int]]:
    """The pieces of a block that its digest covers."""
    pieces = row_ranges(losses.losses, start, stop)
    chosen = sorted({0, len(pieces) // 2, len(pieces) - 1})
    return [(first, min(last, first + _PIECE_TOKENS)) for first, last in (pieces[i] for i in chosen)]


def digest(pieces: Sequence[np.ndarray]) -> int:
    """A 63-bit digest of arrays."""
    total = hashlib.blake2b(digest_size=8)
    for piece in pieces:
        total.update(np.ascontiguousarray(piece).tobytes())
    return int.from_bytes(total.digest(), "little") >> 1


def block_digest(
    losses: LossStore,
    start: int,
    stop: int,
    block: np.ndarray,
    coordinates: Mapping[str, np.ndarray],
    objects: Objects | None = None,
) -> InputDigest:
    """Digest of the tokens ``start`` to ``stop`` that were just read into ``block`` and ``coordinates``.

    Args:
        losses: where they come from.
        start: first token.
        stop: one past the last.
        block: their losses.
        coordinates: all token coordinates, by name.
        objects: what was listed before they were read.
    """
    columns = (block, *_in_order(coordinates))
    rows = [slice(first - start, last - start) for first, last in sampled_rows(losses, start, stop)]
    sampled = digest([column[part] for part in rows for column in columns])
    return InputDigest(sampled, crc32c(columns), objects_digest(losses, start, stop, objects))


def objects_digest(losses: LossStore, start: int, stop: int, objects: Objects | None) -> int:
    """63-bit digest of what a listing says of the objects of some tokens; 0 where it says too little."""
    return ObjectDigests(losses, objects)(start, stop)


class ObjectDigests:
    """`objects_digest` of many blocks.

    Args:
        losses: the input.
        objects: what is listed of it.
    """

    def __init__(self, losses: LossStore, objects: Objects | None) -> None:
        self._objects = objects
        self._arrays = [(array.basename, array.path, ChunkKeys(array)) for array in _arrays(losses)]
        self._latest: tuple[Any, int] = (None, 0)

    def __call__(self, start: int, stop: int) -> int:
        """Of the objects of these tokens; blocks of one shard, one after the other, need one look."""
        if self._objects is None:
            return 0
        places = [(start // keys.rows, -(-stop // keys.rows)) for *_, keys in self._arrays]
        if self._latest[0] != places:
            self._latest = places, self._digest(start, stop)
        return self._latest[1]

    def _digest(self, start: int, stop: int) -> int:
        assert self._objects is not None
        total = hashlib.blake2b(digest_size=8)
        for name, path, keys in self._arrays:
            for key, *_ in keys(start, stop):
                stored = self._objects.get(key)
                if stored is None:
                    continue
                if stored.tag is None:
                    return 0
                total.update(f"{name} {key.removeprefix(path)} {stored.size} {stored.tag}\n".encode())
        return int.from_bytes(total.digest(), "little") >> 1


def changed_blocks(losses: LossStore, ledger: Ledger, objects: Objects | None = None) -> list[str]:
    """Finished blocks whose input is no longer what it was; for each a sentence.

    Args:
        losses: the input.
        ledger: what is known of the blocks.
        objects: what is listed of the input now.
    """
    finished = np.flatnonzero(ledger.states == BlockState.FINISHED)
    picks = np.unique(np.linspace(0, len(finished) - 1, SAMPLED_BLOCKS).astype(int)) if len(finished) else []
    picked = [int(block) for block in finished[picks]]
    same = at_once(
        losses.location,
        lambda block: _same_sample(losses, ledger, block) or _same_whole(losses, ledger, block),
        picked,
    )
    changed = {block for block, is_same in zip(picked, same, strict=True) if not is_same}
    if not changed:
        digest_of, noted = ObjectDigests(losses, objects), ledger.column("input_objects")[finished].tolist()
        now = [digest_of(*_rows(losses, ledger, block)) for block in finished.tolist()]
        doubtful = [
            block for block, old, new in zip(finished.tolist(), noted, now, strict=True) if new == 0 or new != old
        ]
        with ThreadPoolExecutor(2) as pool:
            same = pool.map(lambda block: _same_whole(losses, ledger, block), doubtful)
            changed = {block for block, is_same in zip(doubtful, same, strict=True) if not is_same}
    ranges = [_rows(losses, ledger, block) for block in sorted(changed)]
    return [f"data of tokens {start} to {stop - 1}: changed after they were fitted" for start, stop in ranges]


def _rows(losses: LossStore, ledger: Ledger, block: int) -> tuple[int, int]:
    start = block * ledger.block_tokens
    return start, min(start + ledger.block_tokens, losses.num_tokens)


def _same_sample(losses: LossStore, ledger: Ledger, block: int) -> bool:
    pieces = sampled_rows(losses, *_rows(losses, ledger, block))
    try:
        now = digest([losses.read_array(array, *rows) for rows in pieces for array in _arrays(losses)])
    except ChunkError:
        return True  # unreadable now, and not needed any more: no sign that it was another
    return now == ledger.digests[block]


def _same_whole(losses: LossStore, ledger: Ledger, block: int) -> bool:
    rows = _rows(losses, ledger, block)
    try:
        return crc32c(losses.read_array(array, *rows) for array in _arrays(losses)) == ledger.input(block).whole
    except ChunkError:
        return True


def _arrays(losses: LossStore) -> list[zarr.Array]:
    return [losses.losses, *_in_order(losses.token_coordinates)]


def differences(stored: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """What differs between two nested descriptions, one sentence a leaf."""
    found = []
    for key in [*now, *(key for key in stored if key not in now)]:
        old, new = stored.get(key, "absent"), now.get(key, "absent")
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key}: was {old!r}, now {new!r}")
    return found


def _in_order(columns: Mapping[str, Any]) -> list[Any]:
    return [columns[name] for name in sorted(columns)]


def _sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]
