"""Checkpoints one after another: from memory, from a training loop, from an orbax directory."""

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..store import StoreError


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One checkpoint whose parameters are loaded when they are needed: one that was collected before never is.

    Args:
        step: training step.
        load: returns the parameters.
        name: what messages call it.
    """

    step: int | float
    load: Callable[[], Any]
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"step {self.step}"


def in_order(checkpoints: Iterable[Any]) -> Iterator[Checkpoint]:
    """Checkpoints as they come, each after the one before; a sequence is checked before the first is handed on.

    Raises:
        TypeError: something is neither ``(step, params)`` nor a `Checkpoint`.
        StoreError: a step comes twice or after a later one.
    """
    if isinstance(checkpoints, Sequence):
        list(_checked(map(_checkpoint, checkpoints)))
    return _checked(map(_checkpoint, checkpoints))


def _checked(checkpoints: Iterable[Checkpoint]) -> Iterator[Checkpoint]:
    before = None
    for checkpoint in checkpoints:
        if before is not None and not checkpoint.step > before:
            what = f"step {checkpoint.step} comes twice" if checkpoint.step == before else "they are out of order"
            raise StoreError(
                f"checkpoints: got step {checkpoint.step} after step {before}, expected steps that increase ({what}). "
                "Sort them and leave out the repeated ones; what was collected is kept."
            )
        before = checkpoint.step
        yield checkpoint


def _checkpoint(value: Any) -> Checkpoint:
    if isinstance(value, tuple) and len(value) == 2:
        step, params = value
        value = Checkpoint(step, functools.partial(_held, params))
    if not isinstance(value, Checkpoint):
        raise TypeError(f"checkpoints: got {type(value).__name__}, expected (step, params) or a Checkpoint")
    step: Any = value.step
    step = step.item() if hasattr(step, "item") else step
    if not isinstance(step, int | float) or isinstance(step, bool) or not math.isfinite(step):
        raise TypeError(f"checkpoints: got {step!r} for a step, expected a finite number")
    return dataclasses.replace(value, step=step)


def _held(params: Any) -> Any:
    """Parameters that are in memory; a function that can be sent, as a lambda cannot."""
    return params


def orbax_checkpoints(
    directory: str | os.PathLike[str],
    template: Any = None,
    *,
    params: Callable[[Any], Any] | None = None,
    item: str | None = None,
) -> list[Checkpoint]:
    """The checkpoints of an orbax directory, by step; each is read when it is needed.

    Args:
        directory: what an ``orbax.checkpoint.CheckpointManager`` wrote: one folder a step.
        template: pytree of arrays or ``jax.ShapeDtypeStruct`` to restore into, with shardings where wanted; by default
            what was saved, as it was saved.
        params: takes what `loss_fn` wants out of what was saved, such as ``lambda saved: saved["params"]``.
        item: name of the item, where several were saved together.

    Returns:
        Checkpoints for `tsl_jax.collect`, by increasing step.

    Raises:
        StoreError: orbax is not installed, or the directory holds no checkpoint.

    Example:
        >>> from tsl_jax.collection import collect
        >>> def collect_run(loss_fn, batches):
        ...     checkpoints = orbax_checkpoints("run/checkpoints", params=lambda saved: saved["params"])
        ...     return collect(loss_fn, checkpoints, batches, "losses.zarr")
    """
    try:
        import orbax.checkpoint  # noqa: F401 - whether it is there
    except ImportError as error:
        raise StoreError(
            "orbax_checkpoints: needs the package orbax-checkpoint. Install it with: pip install 'tsl_jax[orbax]'"
        ) from error
    path = Path(directory).expanduser().absolute()
    if not path.is_dir():
        raise StoreError(f"directory: {directory} is no directory; expected one that a CheckpointManager wrote")
    with _manager(path, item) as manager:
        steps = sorted(manager.all_steps())
    if not steps:
        raise StoreError(
            f"directory: {directory} holds no checkpoint; expected one folder a step, such as 1000/default"
        )
    loads = [functools.partial(_restored, path, step, template, params, item) for step in steps]
    return [Checkpoint(step, load, f"{path.name}/{step}") for step, load in zip(steps, loads, strict=True)]


def _manager(path: Path, item: str | None) -> Any:
    import orbax.checkpoint as ocp

    registry = ocp.handlers.DefaultCheckpointHandlerRegistry()
    registry.add(item, ocp.args.StandardRestore, ocp.StandardCheckpointHandler())
    options = ocp.CheckpointManagerOptions(read_only=True)
    return ocp.CheckpointManager(path, options=options, handler_registry=registry)


def _restored(path: Path, step: int, template: Any, params: Callable[[Any], Any] | None, item: str | None) -> Any:
    """The parameters at a step, read in whatever process."""
    import orbax.checkpoint as ocp

    wanted = ocp.args.StandardRestore(template)
    args = wanted if item is None else ocp.args.Composite(**{item: wanted})
    with _manager(path, item) as manager:
        saved = manager.restore(step, args=args)
    saved = saved if item is None else saved[item]
    return saved if params is None else params(saved)
