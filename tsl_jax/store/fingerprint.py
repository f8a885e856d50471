"""What a fit was made from, so that a resumed run on other input is refused.

Shapes, axes, coordinates and attributes are kept whole (or as a hash) in the fit store's attribute ``input``.
The losses themselves are told by a digest a block, of the decoded values of up to three pieces of it (first,
middle and last chunk) and their token coordinates; it is made while the block is in memory, kept in the
ledger, and a resumed run makes it again for up to `SAMPLED_BLOCKS` finished blocks. A copy or another
compression of the same losses is the same input; a change that misses every sampled piece is not seen.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .errors import ChunkError
from .ledger import BlockState, Ledger
from .losses import LossStore
from .reading import read_rows, row_ranges

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
    losses: LossStore, start: int, stop: int, block: np.ndarray, coordinates: Mapping[str, np.ndarray]
) -> int:
    """Digest of the tokens ``start`` to ``stop`` that were just read into ``block`` and ``coordinates``."""
    rows = [slice(first - start, last - start) for first, last in sampled_rows(losses, start, stop)]
    return digest([column[part] for part in rows for column in (block, *_in_order(coordinates))])


def changed_blocks(losses: LossStore, ledger: Ledger) -> list[str]:
    """Finished blocks, of a sample, whose input is no longer what it was; for each a sentence."""
    finished = np.flatnonzero(ledger.states == BlockState.FINISHED)
    picks = np.unique(np.linspace(0, len(finished) - 1, SAMPLED_BLOCKS).astype(int)) if len(finished) else []
    differences = []
    for block in finished[picks]:
        start = int(block) * ledger.block_tokens
        stop = min(start + ledger.block_tokens, losses.num_tokens)
        arrays = [losses.losses, *_in_order(losses.token_coordinates)]
        try:
            now = digest(
                [read_rows(array, first, last) for first, last in sampled_rows(losses, start, stop) for array in arrays]
            )
        except ChunkError:
            continue  # unreadable now, and not needed any more: no sign that it was another
        if now != ledger.digests[block]:
            differences.append(f"data of tokens {start} to {stop - 1}: changed after they were fitted")
    return differences


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
