"""A fitted block, as it is written and recorded."""

import numpy as np

from ...store import BlockState, FitWriter
from ...store.lock import Lock
from ...stream.blocks import Columns
from ...stream.reading import Input
from .columns import mark_unreadable, noted, whole_times
from .samples import KeptSample


class BlockWriter:
    """Writes fitted blocks and records each in the ledger, in several threads if need be.

    Args:
        writer: where.
        event: name of the parameter that says when the event is; None for families without one.
        lock: checked before a block is counted as done.
        kept: where the sample's rows of what is written are kept, if they are.

    Attributes:
        rows: (entries,) of the ledger by block, as they were written.
    """

    def __init__(self, writer: FitWriter, event: str | None, lock: Lock, kept: KeptSample | None = None) -> None:
        self._writer, self._event, self._lock, self._kept = writer, event, lock, kept
        self.rows: dict[int, np.ndarray] = {}

    def __call__(self, block: Input, result: Columns) -> None:
        """Write one block; tokens whose losses could not be read are marked."""
        start, stop = block.block.start, block.block.stop
        values = {name: np.asarray(array)[: stop - start] for name, array in result.items()}
        values = whole_times(values, self._event)
        if block.bad:
            values = {name: np.array(array) for name, array in values.items()}
            for gap in block.bad:
                mark_unreadable(values, slice(gap.start - start, gap.stop - start))
        self._lock.check()
        self._writer.write(block.block.index, values | block.coordinates)
        self._lock.check()
        state = BlockState.WITH_BAD_CHUNKS if block.bad else BlockState.FINISHED
        digests = (block.digest, values["status"], values["category"], noted(values))
        self.rows[block.block.index] = self._writer.finish(block.block.index, state, *digests)
        if self._kept is not None:
            self._kept.keep(start, values)
