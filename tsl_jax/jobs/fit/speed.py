"""How fast this machine fits: the kernel, reading, and both together, within seconds."""

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from ...curves import Sigmoid
from ...fitting import FitOptions, Status
from ...store import FitWriter, LossStore, StoreLike, create_losses, locate, open_losses, resume_or_create, writer_lock
from ...stream.ahead import READERS, read_ahead
from ...stream.blocks import stream_blocks
from ...stream.machine import copy_bandwidth, local_devices
from ...stream.plan import Block, blocks_of
from ...stream.reading import BlockReader
from ...stream.stages import StageSeconds
from ..simulate import simulate_store
from .fitter import BlockFitter, Devices
from .plan import fit_header, fit_layout, left_out_checkpoints
from .writing import BlockWriter

#: Tokens of a block on a device, as many as blocks of large stores have, and of the store that is made: a second or so
#: of work each time, and enough for some such blocks, which are whole shards.
_BLOCK_TOKENS, _MADE_TOKENS, _LEAST_MADE_TOKENS = {"cpu": 2**18}, {"cpu": 2**18}, 2**21
_ON_ACCELERATORS, _DIFFERENT_TOKENS = (2**20, 2**22), 2**18
_LAST_STEP = 1e5


@dataclasses.dataclass(frozen=True)
class Speed:
    """What `measure_speed` found; rates are tokens a second unless said otherwise.

    Attributes:
        devices: what fitted, such as ``"1 x cpu"``.
        kernel_name: with which kernel, ``"native"`` or ``"xla"``: see `FitOptions.kernel`.
        tokens: tokens of the store.
        checkpoints: checkpoints of a token.
        dtype: of the losses on disk.
        block_tokens: tokens of a block.
        compile_seconds: until the program of a block was ready.
        kernel: fits a second on blocks that lie on the device.
        settled: fraction of these fits that ended at a minimum or on a bound of it.
        copy_bytes: bytes a second that the first device copies, read and written counted.
        read: reading, decoding and checking, nothing else done.
        read_bytes: the same in bytes of losses a second.
        end_to_end: from the loss store to a fit store that is made before, as it is once for any number of tokens.
        stages: seconds of each stage of that.
    """

    devices: str
    kernel_name: str
    tokens: int
    checkpoints: int
    dtype: str
    block_tokens: int
    compile_seconds: float
    kernel: float
    settled: float
    copy_bytes: float
    read: float
    read_bytes: float
    end_to_end: float
    stages: StageSeconds

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON can hold it, and which stage sets the rate."""
        return dataclasses.asdict(self) | {"limited_by": self.stages.limit}


def measure_speed(
    losses: StoreLike | None = None,
    *,
    axis: str = "step",
    checkpoints: int = 64,
    seconds: float = 2.0,
    devices: Devices | None = None,
    folder: Path | None = None,
    tokens: int | None = None,
    kernel: Literal["auto", "native", "xla"] = "auto",
) -> Speed:
    """Measure what fitting sigmoids takes on this machine, for about ``seconds`` each, compiling apart.

    Args:
        losses: a loss store, of which only some blocks are read; without one planted sigmoids are written to a
            temporary folder, float16.
        axis: the axis of a given store.
        checkpoints: of the planted sigmoids.
        seconds: about how long each measurement takes, at least a block.
        devices: where to fit; all local devices by default.
        folder: where the temporary folder is made; the system's own place by default.
        tokens: planted sigmoids; by default some millions, of which at most 262,144 are different ones.
        kernel: as in `FitOptions`.

    Returns:
        `Speed`.

    Raises:
        StoreError: the losses are no valid loss store.
        ValueError: the axis, or a number, is wrong, or there is no such kernel here.

    Example:
        >>> measure_speed(seconds=0)
        Traceback (most recent call last):
        ...
        ValueError: seconds: got 0, expected a positive number
    """
    if not seconds > 0:
        raise ValueError(f"seconds: got {seconds}, expected a positive number")
    if checkpoints < 5:
        raise ValueError(f"checkpoints: got {checkpoints}, expected at least 5, one more than a sigmoid has parameters")
    options = FitOptions(kernel=kernel)
    where = list(local_devices() if devices is None else devices)
    with tempfile.TemporaryDirectory(prefix="tsl-bench-", dir=folder) as place:
        if losses is None:
            steps = np.unique(np.round(np.geomspace(1, _LAST_STEP, checkpoints), 3))
            made = _MADE_TOKENS.get(where[0].platform, _ON_ACCELERATORS[1]) * len(where)
            source = _planted(Path(place), steps, tokens or max(made, _LEAST_MADE_TOKENS))
        else:
            source = open_losses(losses)
        return _measure(source, axis, options, seconds, where, Path(place) / "fits.zarr")


def _planted(place: Path, steps: np.ndarray, tokens: int) -> LossStore:
    """A store of planted sigmoids, so many different ones and those over and over: to make takes longer than to fit."""
    few = simulate_store(place / "few.zarr", steps, min(tokens, _DIFFERENT_TOKENS))
    rows, shape = few.read(), (tokens, len(steps))
    losses = create_losses(place / "losses.zarr", shape, checkpoints={"step": steps}, dtype=rows.dtype)
    stored = losses.shard_tokens or losses.chunk_tokens
    for start in range(0, tokens, stored):
        stop = min(start + stored, tokens)
        losses.losses[start:stop] = np.take(rows, range(start, stop), axis=0, mode="wrap")
    return losses


def _measure(source: LossStore, axis: str, options: FitOptions, seconds: float, where: Devices, out: Path) -> Speed:
    family = Sigmoid()
    left_out = left_out_checkpoints(family, axis, source.axis(axis))
    fitter = BlockFitter(family, source.axis(axis), source.losses.dtype, options, where)
    wanted = _BLOCK_TOKENS.get(where[0].platform, _ON_ACCELERATORS[0]) * len(where)
    layout = fit_layout(source, family, fitter, block_tokens=wanted)
    compile_seconds = fitter.compile(layout.block_tokens, source.num_tokens)
    blocks = blocks_of(source.num_tokens, layout.block_tokens)
    kernel, settled = _kernel(fitter, source, blocks[0], seconds)
    read = _reading(source, blocks[::-1], seconds)

    todo = blocks[: max(1, round(seconds * min(kernel, read) / layout.block_tokens))]
    target = locate(out, writable=True)
    header = fit_header(family, axis, fitter, left_out)
    with writer_lock(target) as lock:
        store = resume_or_create(target, source, header, layout)
        reader = BlockReader(source, fitter.put, room=fitter.room)
        writer = BlockWriter(FitWriter(store), store.event, lock)
        begun = time.perf_counter()
        result = stream_blocks(reader, fitter, writer, todo, progress=lambda _: None)
    end_to_end = _tokens(todo) / (time.perf_counter() - begun)
    return Speed(
        devices=f"{len(where)} x {where[0].device_kind}",
        kernel_name=fitter.options.kernel,
        tokens=source.num_tokens,
        checkpoints=source.num_checkpoints,
        dtype=str(source.losses.dtype),
        block_tokens=layout.block_tokens,
        compile_seconds=compile_seconds,
        kernel=kernel,
        settled=settled,
        copy_bytes=copy_bandwidth(where[0], seconds / 4),
        read=read,
        read_bytes=read * source.num_checkpoints * source.losses.dtype.itemsize,
        end_to_end=end_to_end,
        stages=result.stages,
    )


def _kernel(fitter: BlockFitter, source: LossStore, block: Block, seconds: float) -> tuple[float, float]:
    """Fits a second of one block over and over, two begun at a time, and the share that settled."""
    placed = fitter.put(source.read(slice(block.start, block.stop)))
    result = jax.block_until_ready(fitter(placed))
    status = np.asarray(result["status"])[: block.stop - block.start]
    settled = np.mean((status == Status.CONVERGED) | (status == Status.AT_BOUND))

    def fit_one() -> int:
        nonlocal result
        result, before = fitter(placed), result
        jax.block_until_ready(before)
        return placed.shape[0]  # padding is fitted, too

    return _rate(iter(fit_one, None), seconds, lambda: jax.block_until_ready(result)), float(settled)


def _reading(source: LossStore, blocks: list[Block], seconds: float) -> float:
    """Tokens a second that the readers of a run read."""
    with ThreadPoolExecutor(READERS) as readers:
        reader = BlockReader(source, lambda rows: rows)
        done = (block.block.stop - block.block.start for block in read_ahead(readers, reader, blocks))
        return _rate(done, seconds)


def _rate(parts: Iterable[int], seconds: float, wait: Callable[[], Any] = lambda: None) -> float:
    """Tokens a second of parts that are worked on one after the other, until the time is over."""
    begun, tokens = time.perf_counter(), 0
    for number in parts:
        tokens += number
        if time.perf_counter() - begun >= seconds:
            break
    wait()
    return tokens / (time.perf_counter() - begun)


def _tokens(blocks: Iterable[Block]) -> int:
    return sum(block.stop - block.start for block in blocks)
