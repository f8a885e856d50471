"""A writer for training loops: every token's loss at a checkpoint, from one process or from many."""

import contextlib
import dataclasses
import warnings
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..arguments import real_number, whole_number
from ..store import LossStore, StoreError, StoreLike, import_losses, locate, writer_lock
from ..store.location import Location
from ..store.own_files import remove_partial_files
from ..store.rank_columns import rank_place
from ..store.unfinished import checked_dtype
from .host_arrays import rank_and_ranks
from .rank_columns_file import RankColumnsFile, open_root
from .rank_rows import CheckpointRows


class RestartWarning(UserWarning):
    """A run went back to an earlier checkpoint; what it had written after it is set aside."""


@dataclasses.dataclass(eq=False)
class LossWriter:
    """Writes every token's loss while a model trains, a checkpoint at a time, from each of its processes.

    Each rank writes the rows of its share of the validation set; no rank waits for another. A checkpoint counts when
    all ranks have written it, and one that a kill left half-written never does. Rows are ordered by sequence and
    position whatever the order they come in, and a digest of them sees to it that all checkpoints have the same tokens.
    What is written is not changed: after a restart from an earlier checkpoint the later ones are set aside, which a
    `RestartWarning` says, and kept on disk; for that, make the writers of all ranks before training goes on. `tsl
    import` (or `to_store`) makes the loss store that `tsl fit` takes.

    Args:
        out: where: a path, a URL or a Zarr store; the same for all ranks.
        rank: number of this process, from 0; by default what torch.distributed or jax.distributed say, else 0.
        ranks: number of processes that write; by default likewise, else 1.
        start: step of the checkpoint that training goes on from; needed where checkpoints are there already.
        dtype: float16, float32 or float64, of the losses.
        attributes: group attributes, such as the names of the domains.

    Raises:
        StoreError: something else is at ``out``, checkpoints are there and ``start`` is not given, or the run had
            another number of ranks. Its subclasses: `LockedError` (another process writes as this rank), `WriteError`.

    Example:
        >>> import numpy as np, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> batch = {"token_id": np.array([[5, 6, 7]])}
        >>> writer = LossWriter(f"{folder}/by_step", dtype="float32")
        >>> for step in (100, 200):
        ...     with writer.checkpoint(step, tokens_seen=4096 * step) as rows:
        ...         rows.add(batch, np.array([[3.0, 2.0, 1.0]]) - step / 1000)
        >>> store = writer.to_store(f"{folder}/losses.zarr")
        >>> store.axis("step").tolist(), store.read()[0].round(3).tolist()
        ([100.0, 200.0], [2.9000000953674316, 2.799999952316284])
    """

    out: StoreLike
    rank: int | None = None
    ranks: int | None = None
    start: float | None = None
    dtype: Any = np.float16
    attributes: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        found = rank_and_ranks()
        self.rank = found[0] if self.rank is None else whole_number("rank", self.rank, 0)
        self.ranks = max(found[1], self.rank + 1) if self.ranks is None else whole_number("ranks", self.ranks)
        if self.rank >= self.ranks:
            raise StoreError(f"rank: got {self.rank}, expected a number below ranks = {self.ranks}; ranks count from 0")
        self._location = locate(self.out, writable=True)
        open_root(self._location, self.ranks, self.attributes or {})
        place = rank_place(self._location, self.rank)
        with contextlib.ExitStack() as held:
            held.enter_context(writer_lock(place))
            remove_partial_files(place)
            columns = Location(place.store, place.key("columns"), f"{self._location.name}, rank {self.rank}")
            self._file = RankColumnsFile(columns, checked_dtype(self.dtype))
            self._go_on()
            self._close = weakref.finalize(self, held.pop_all().close)

    @property
    def steps(self) -> list[float]:
        """Steps that this rank has written and that count."""
        return list(self._file.steps)

    @contextlib.contextmanager
    def checkpoint(self, step: float, **coordinates: float) -> Iterator[CheckpointRows]:
        """Gather a checkpoint's rows in the ``with`` block, and write them at its end; after an error nothing is.

        Args:
            step: training step, above those before.
            **coordinates: others of this checkpoint, such as ``tokens_seen`` or ``lr_sum``; the same names each time.

        Raises:
            StoreError: the step is below one that is written, or the tokens or the names of coordinates are others
                than those of before (`ChangedError`).
        """
        values = {"step": real_number("step", step)}
        values |= {name: real_number(name, value) for name, value in coordinates.items()}
        if not self._close.alive:
            raise StoreError(f"{self._location.name}: the writer is closed; make a new one")
        before = self._file.steps
        if before and values["step"] < before[-1] and values["step"] not in before:
            raise StoreError(
                f"{self._location.name}: got step {step:g} after step {before[-1]:g}, expected steps that increase. If "
                "training went back to an earlier checkpoint, say to which: LossWriter(..., start=...)"
            )
        rows = CheckpointRows(numbered=self.ranks != 1)
        yield rows
        columns, losses = rows.rows()
        if values["step"] in before:
            self._compare(values["step"], columns, losses)
        else:
            self._file.append(columns, losses, values)

    def write(self, step: float, batch: Mapping[str, Any], losses: Any, **coordinates: float) -> None:
        """Write a checkpoint whose rows are all at hand.

        Args:
            step: training step, above those before.
            batch: `token_id`, (sequences, positions), and what else `CheckpointRows.add` knows.
            losses: (sequences, positions) in nat, NaN = not measured.
            **coordinates: as in `checkpoint`.
        """
        with self.checkpoint(step, **coordinates) as rows:
            rows.add(batch, losses)

    def to_store(self, target: StoreLike, **options: Any) -> LossStore:
        """The loss store of all checkpoints that every rank has written; see `tsl_jax.import_losses` for options."""
        return import_losses(self.out, target, **options)

    def close(self) -> None:
        """Let others write as this rank; at the end of the process that is so by itself."""
        self._close()

    def __enter__(self) -> "LossWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _go_on(self) -> None:
        """Set aside what is later than the step that training goes on from."""
        steps = self._file.steps
        if not steps:
            return
        if self.start is None:
            raise StoreError(
                f"{self._location.name}: holds checkpoints up to step {steps[-1]:g}. Give start=..., the step of the "
                "checkpoint that training goes on from, or another output; nothing was changed"
            )
        start = real_number("start", self.start)
        aside = [step for step in steps if step > start]
        if aside:
            self._file.restart(start)
            shown = ", ".join(f"{step:g}" for step in aside[:5]) + (", ..." if len(aside) > 5 else "")
            warnings.warn(
                f"{self._location.name}: training goes on from step {start:g}, before {len(aside)} checkpoints that "
                f"were written (steps {shown}). They are set aside: this run's take their place, the files are kept.",
                RestartWarning,
                stacklevel=4,
            )

    def _compare(self, step: float, columns: Mapping[str, np.ndarray], losses: np.ndarray) -> None:
        """Keep a checkpoint that is there, and say so where it is not the same."""
        self._file.check_tokens(columns)
        before = self._file.read(step)
        now = losses.astype(before.dtype)
        if not np.array_equal(before, now, equal_nan=True):
            largest = np.nanmax(np.abs(before.astype(np.float64) - now), initial=0.0)
            warnings.warn(
                f"{self._location.name}: step {step:g} is written already, and is kept; the losses of now differ by up "
                f"to {largest:.3g} nat. To write it anew open with start= a step before it.",
                RestartWarning,
                stacklevel=4,
            )
