"""Callbacks for the `Trainer` of `transformers`: every token's loss at each evaluation, and the final loss to come."""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..store import StoreLike
from .final_loss import FinalLoss
from .hf_losses import batch_losses
from .host_arrays import rank_and_ranks
from .loss_writer import LossWriter
from .torch_schedules import rates_of_scheduler
from .validation_batches import dealt, numbered

try:
    from transformers import TrainerCallback  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError(
        f"tsl_jax.collection.hf_callbacks: needs PyTorch and transformers ({error}). Install them with: "
        "pip install 'tsl_jax[hf]'"
    ) from error


class LossCallback(TrainerCallback):
    """Writes every token's loss at the start of training and at each evaluation, with `tsl_jax.LossWriter`.

    The tokens are given here, and are no part of the evaluation of the `Trainer`, so that they stay the same whatever
    that is. Processes share the batches. A run that goes on from a checkpoint goes on here, too: losses that are later
    than it are set aside, with a warning. Models that are whole in each process (one process, DDP).

    Args:
        out: where `LossWriter` writes.
        batches: `tsl_jax.collection.text_batches`, or mappings of ``input_id`` and ``token_id``, the tokens that follow
            them, (sequences, positions); ``mask``, True where a token counts; ``domain``, (sequences,).
        dtype: float16, float32 or float64, of the losses.
        attributes: group attributes, such as the names of the domains.
        block_bytes: float32 logits in memory at a time.
    """

    def __init__(
        self,
        out: StoreLike,
        batches: Iterable[Mapping[str, Any]],
        *,
        dtype: Any = np.float16,
        attributes: Mapping[str, Any] | None = None,
        block_bytes: int = 2**28,
    ) -> None:
        self._out, self._batches = out, numbered(batches)
        self._options = {"dtype": dtype, "attributes": attributes}
        self._block_bytes = block_bytes
        self.writer: LossWriter | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Open the output; measure the model before its first update."""
        rank, ranks = rank_and_ranks()
        start = state.global_step or None
        if str(getattr(args.eval_strategy, "value", args.eval_strategy)) == "no":
            warnings.warn(
                "LossCallback: measures at evaluations, and there are none; set eval_strategy and eval_steps",
                stacklevel=2,
            )
        self.writer = LossWriter(self._out, rank, ranks, start, **self._options)
        if start is None:
            self._measure(args, state, given["model"])

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Measure, once a step however many evaluation sets there are."""
        if self.writer is not None and state.global_step not in self.writer.steps:
            self._measure(args, state, given["model"])

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Close the output."""
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _measure(self, args: Any, state: Any, model: Any) -> None:
        assert self.writer is not None
        rank, ranks = rank_and_ranks()
        counted = getattr(args, "include_num_input_tokens_seen", False) not in (False, "no")
        seen = {"tokens_seen": state.num_input_tokens_seen} if counted else {}
        with self.writer.checkpoint(state.global_step, **seen) as rows:
            for batch in dealt(self._batches, rank, ranks):
                rows.add(batch, batch_losses(model, batch, self._block_bytes))


class FinalLossCallback(TrainerCallback):
    """Adds the loss to expect at the end of training to the log: `final_loss`, `final_loss_low`, `final_loss_high`.

    From the logged training losses by `tsl_jax.temporal.forecast`, with the learning rates to come where the scheduler
    is a ``LambdaLR``, as those of `transformers` are; the band holds 90%. Computed in another process, on the CPU.
    The values are added to the entry of the log that comes after: callbacks that come after this one see them, and
    ``trainer_state.json`` keeps them.

    Args:
        every: fewest seconds between two estimates.
    """

    def __init__(self, every: float = 60.0) -> None:
        self._every = every
        self._rates: np.ndarray | None = None
        self.final: FinalLoss | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Begin with the losses that a resumed run has logged before."""
        if not state.is_world_process_zero or state.max_steps <= 0:
            return
        self._rates = rates_of_scheduler(given.get("lr_scheduler"), state.max_steps)
        self._begin(state)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **given: Any) -> None:
        """Take the loss, and add the newest estimate if there is one."""
        if self.final is None or logs is None or "loss" not in logs:
            return
        self._check_rate(state, logs.get("learning_rate"))
        self.final.add(state.global_step, float(logs["loss"]))
        estimate = self.final.poll()
        if estimate is not None:
            logs.update(estimate.logged())
            if state.log_history and state.log_history[-1].get("step") == state.global_step:
                state.log_history[-1].update(estimate.logged())

    def on_train_end(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """End the process that forecasts."""
        if self.final is not None:
            self.final.close()
            self.final = None

    def _begin(self, state: Any) -> None:
        self.final = FinalLoss(state.max_steps, self._rates, every=self._every)
        for entry in _losses(state.log_history, state.global_step):
            self.final.add(entry["step"], float(entry["loss"]))

    def _check_rate(self, state: Any, rate: float | None) -> None:
        """Give up a schedule that is not the one that training has."""
        if rate is None or self._rates is None or not 0 < state.global_step <= len(self._rates):
            return
        expected = self._rates[state.global_step - 1]
        if abs(expected - rate) > 1e-3 * self._rates.max():
            warnings.warn(
                f"FinalLossCallback: the learning rate at step {state.global_step} is {rate:g}, the scheduler says "
                f"{expected:g}; the final loss is forecast without a schedule",
                stacklevel=2,
            )
            self._rates = None
            if self.final is not None:
                self.final.close()
            self._begin(state)


def _losses(history: Sequence[Mapping[str, Any]], last: int) -> list[Mapping[str, Any]]:
    return [entry for entry in history if "loss" in entry and 0 < entry.get("step", 0) < last]
