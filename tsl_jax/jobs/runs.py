"""Training runs: a file with a loss curve or a loss store, and its learning rates."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..store import CURVE_FILES, LossCurveFile, LossStore, open_losses, read_rows
from ..store.imports.files import FILES as ARRAY_FILES
from ..store.limits import refuse_large
from ..store.location import arrays_of
from ..temporal.clock.dynamic_time import schedule_from_records
from .group_sums import mean_losses
from .positions import PositionError, PositionLosses, position_losses


class RunError(ValueError):
    """A run cannot be read: which file, what is wrong, the way out."""


@dataclasses.dataclass(frozen=True)
class Run:
    """Mean loss over training, and what is known beside it.

    Attributes:
        name: the file or store.
        step: (rows,) training steps.
        loss: (rows,) mean losses, nat.
        rate_step: (records,) steps of the recorded learning rates; ``None``: not recorded.
        rate: (records,) rate of the update that follows each of them.
        positions: losses per position, of a loss store that has positions.
        size: parameters of the model, of a loss store with an attribute of this name.
        notes: what was left out or mended, sentences.
    """

    name: str
    step: np.ndarray
    loss: np.ndarray
    rate_step: np.ndarray | None = None
    rate: np.ndarray | None = None
    positions: PositionLosses | None = None
    size: float | None = None
    notes: tuple[str, ...] = ()

    def until(self, last: float) -> "Run":
        """The rows up to a step; the recorded schedule stays whole, as it was planned before."""
        kept = self.step <= last
        positions = self.positions
        if positions is not None:
            rows = np.isin(positions.axis, self.step[kept])
            arrays = {name: getattr(positions, name)[rows] for name in ("axis", "mean", "stderr", "count")}
            groups = {name: getattr(positions, name)[:, rows] for name in ("group_mean", "group_count")}
            positions = dataclasses.replace(positions, **arrays, **groups)
        return dataclasses.replace(self, step=self.step[kept], loss=self.loss[kept], positions=positions)


def read_run(path: str, names: Mapping[str, str] | None = None) -> Run:
    """Read a file with a loss curve, or a loss store.

    Args:
        path: of it.
        names: columns of a file by what they hold: ``"step"``, ``"loss"``, ``"learning_rate"``; by default known names.

    Raises:
        StoreError: what is wrong with the file or the store.
        RunError: a checkpoint of the store without any loss.
    """
    is_file = os.path.isfile(path) and not path.lower().endswith((".zip", *ARRAY_FILES))
    if not (is_file or path.lower().endswith(CURVE_FILES) or os.path.isfile(f"{path}/trainer_state.json")):
        return run_of_losses(open_losses(path))
    file = LossCurveFile(path, names)
    columns, notes = file.columns(("step", "loss"))
    rates: dict[str, Any] = {}
    if file.has("learning_rate"):  # at its own rows: there may be no loss where it was recorded
        rates, more = file.columns(("step", "learning_rate"))
        notes = tuple(dict.fromkeys((*notes, *more)))
    return Run(path, columns["step"], columns["loss"], rates.get("step"), rates.get("learning_rate"), notes=notes)


def run_of_losses(store: LossStore, positions: PositionLosses | None = None) -> Run:
    """The run of an open loss store.

    Args:
        store: the losses.
        positions: its losses per position over the axis ``step``, where they are known already.

    Raises:
        StoreError: the store has no axis ``step``.
        RunError: a checkpoint without any loss.
    """
    step, notes = store.axis("step"), ()
    if positions is None and "position" in store.token_coordinates:
        try:
            positions = position_losses(store)
        except PositionError as error:  # the mean over all tokens needs none
            notes = (f"left out the positions of the tokens ({error})",)
    if positions is not None:
        counts = positions.count
        total = np.where(counts > 0, positions.mean * counts, 0.0).sum(axis=1)
        number = counts.sum(axis=1)
        loss = np.divide(total, number, out=np.full(len(total), np.nan), where=number > 0)
    else:
        loss = mean_losses(store)
    if not np.all(np.isfinite(loss)):
        first = int(np.argmin(np.isfinite(loss)))
        raise RunError(f"{store.name}: checkpoint {first} has no loss; leave it out of the store")
    rate_step = rate = None
    arrays = arrays_of(store.location.open_group())
    if "learning_rate" in arrays and arrays["learning_rate"].ndim == 1:
        refuse_large(store.name, arrays["learning_rate"])
        rate = np.asarray(read_rows(arrays["learning_rate"], 0, arrays["learning_rate"].shape[0]), np.float64)
        rate_step = np.arange(len(rate), dtype=np.float64)
    return Run(store.name, step, loss, rate_step, rate, positions, _size_of(store.attributes.get("size")), notes)


def _size_of(size: Any) -> float | None:
    """A number of parameters out of an attribute; None where it is none."""
    known = isinstance(size, int | float) and not isinstance(size, bool) and 0 < size < np.inf
    return float(size) if known else None


def rates_until(
    run: Run, last: float, schedule: str = "recorded", warmup: int | None = None, what: str = "the forecast"
) -> np.ndarray | None:
    """Rate of every update up to a step; ``None`` where it is not known.

    Args:
        run: whose rates are taken.
        last: the step.
        schedule: as ``--schedule`` of the commands takes it.
        warmup: length of the linear warm-up, steps; also of rows inside it.
        what: ends at that step, for messages.

    Raises:
        RunError: the schedule is none of those that there are, or needs rates that were not recorded.
        ValueError: a schedule shorter than the forecast, or a warm-up that is not given.
    """
    end = int(np.ceil(last))
    kind, _, final = schedule.partition(":")
    if schedule == "none" or (schedule == "recorded" and run.rate is None):
        return None
    if schedule.lower().endswith(CURVE_FILES) or os.path.exists(schedule):
        columns, _ = LossCurveFile(schedule).columns(("step", "learning_rate"))
        return _recorded(columns["step"], columns["learning_rate"], end, warmup, schedule, what)
    if kind not in ("recorded", "constant", "cosine", "linear") or (final and kind not in ("cosine", "linear")):
        raise RunError(
            f"--schedule: got {schedule!r}, expected recorded, constant, cosine[:FINAL], linear[:FINAL], none or a CSV "
            "file with columns step, lr"
        )
    if run.rate is None or run.rate_step is None:
        raise RunError(
            f"--schedule {kind}: {run.name} has no learning rates to go on from; give a CSV file with columns step, lr"
        )
    if kind == "recorded":
        return _recorded(run.rate_step, run.rate, end, warmup, run.name, what)
    known = run.rate_step <= run.step[-1]
    seen, level = _seen_rates(run.rate_step[known], run.rate[known], warmup, run.name)
    fraction = (np.arange(len(seen), end) + 1 - len(seen)) / max(end - len(seen), 1)
    try:
        target = float(final or 0.0)
    except ValueError:
        raise RunError(
            f"--schedule: got {schedule!r}, expected a number after the colon, such as {kind}:3e-5"
        ) from None
    fall = {"constant": 0 * fraction, "cosine": (1 - np.cos(np.pi * fraction)) / 2, "linear": fraction}[kind]
    return np.concatenate([seen, level + (target - level) * fall])[:end]


def _seen_rates(step: np.ndarray, rate: np.ndarray, warmup: int | None, name: str) -> tuple[np.ndarray, float]:
    """Rates up to the last record, or to the end of a warm-up that it lies in, and the rate there."""
    if warmup and 0 < step[-1] < warmup:
        step, rate = np.append(step, warmup), np.append(rate, rate[-1] * warmup / step[-1])
    return _recorded(step, rate, int(step[-1]), warmup, name), float(rate[-1])


def _recorded(step: Any, rate: Any, end: int, warmup: int | None, name: str, what: str = "the forecast") -> np.ndarray:
    if end > step[-1] + 1:
        raise RunError(
            f"the learning rates in {name} end at step {step[-1]:g}, {what} at {end}; give --schedule with rates that "
            "reach as far, or an earlier step"
        )
    if end > step[-1]:  # rates of updates: the last record is the last update's
        step, rate = np.append(step, end), np.append(rate, rate[-1])
    return np.asarray(schedule_from_records(step, rate, warmup_steps=warmup, num_steps=max(end, 1)).learning_rate)
