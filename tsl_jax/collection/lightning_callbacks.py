"""Callbacks for Lightning's `Trainer`: every token's loss at each validation, and the final loss to come."""

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..store import StoreError, StoreLike
from .final_loss import FinalLoss
from .host_arrays import to_numpy
from .loss_writer import LossWriter
from .torch_schedules import rates_of_scheduler

try:
    from lightning.pytorch import Callback  # pyright: ignore[reportMissingImports]
except ImportError as error:
    raise ImportError(
        f"tsl_jax.collection.lightning_callbacks: needs PyTorch and lightning ({error}). Install them with: "
        "pip install 'tsl_jax[lightning]'"
    ) from error

#: What `validation_step` may return beside the losses.
_TOKENS = ("token_id", "mask", "sequence", "position", "domain", "token_frequency")


class LightningLosses(Callback):
    """Writes every token's loss at each validation, with `tsl_jax.LossWriter`.

    The module's ``validation_step`` returns a dict with ``token_loss``, (sequences, positions) in nat, and
    ``token_id``, the tokens whose losses they are; if it likes ``mask``, ``sequence``, ``position``, ``domain``.
    Sequences are numbered as the validation loader comes to them, which must not shuffle. The check before training
    that Lightning makes is passed over. A run that goes on from a checkpoint goes on here, too: losses that are later
    than it are set aside, with a warning.

    Args:
        out: where `LossWriter` writes.
        dtype: float16, float32 or float64, of the losses.
        attributes: group attributes, such as the names of the domains.
    """

    def __init__(self, out: StoreLike, *, dtype: Any = np.float16, attributes: Mapping[str, Any] | None = None) -> None:
        self._out, self._options = out, {"dtype": dtype, "attributes": attributes}
        self.writer: LossWriter | None = None
        self._open = contextlib.ExitStack()
        self._rows: Any = None
        self._sequences = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Open the output."""
        start = trainer.global_step or None
        self.writer = LossWriter(self._out, trainer.global_rank, trainer.world_size, start, **self._options)

    def on_validation_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a checkpoint."""
        if self.writer is not None and not trainer.sanity_checking:
            self._rows = self._open.enter_context(self.writer.checkpoint(trainer.global_step))
            self._sequences = 0

    def on_validation_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        """Take the losses of a batch of the first loader."""
        if self._rows is None or dataloader_idx:
            return
        if not isinstance(outputs, Mapping) or not {"token_loss", "token_id"} <= set(outputs):
            came = ", ".join(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
            raise StoreError(
                f"validation_step: returned {came}, expected a dict with token_loss and token_id, both (sequences, "
                "positions)"
            )
        given = {name: to_numpy(outputs[name]) for name in _TOKENS if name in outputs}
        count = len(given["token_id"])
        given.setdefault("sequence", self._numbers(trainer, count))
        self._sequences += count
        self._rows.add(given, outputs["token_loss"])

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Write the checkpoint."""
        self._rows = None
        self._open.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Write nothing of a checkpoint that is not whole."""
        self._rows = None
        self._open.__exit__(type(exception), exception, exception.__traceback__)
        self._close()

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """Close the output."""
        self._close()

    def _close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            self.writer = None

    def _numbers(self, trainer: Any, count: int) -> np.ndarray:
        """Of the next sequences, as the sampler deals them out that Lightning puts in where there are several ranks."""
        place = trainer.global_rank + trainer.world_size * (self._sequences + np.arange(count))
        loaders = trainer.val_dataloaders
        loader = loaders[0] if isinstance(loaders, list | tuple) else loaders
        return place % len(loader.dataset) if trainer.world_size > 1 else place


class LightningFinalLoss(Callback):
    """Logs the loss to expect at the end of training: `final_loss`, `final_loss_low`, `final_loss_high`.

    From the means of the training loss by `tsl_jax.temporal.forecast`, with the learning rates to come where the
    scheduler is a ``LambdaLR`` that steps once an update; the band holds 90%. Computed in another process, on the CPU.

    Args:
        every: fewest seconds between two estimates.
    """

    def __init__(self, every: float = 60.0) -> None:
        self._every = every
        self._sum, self._count = None, 0
        self.final: FinalLoss | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Find the last step and the learning rates."""
        last = trainer.estimated_stepping_batches
        if trainer.global_rank == 0 and 0 < last < float("inf"):
            configs = trainer.lr_scheduler_configs
            steps = bool(configs) and configs[0].interval == "step" and configs[0].frequency == 1
            rates = rates_of_scheduler(configs[0].scheduler, int(last)) if steps else None
            self.final = FinalLoss(last, rates, every=self._every)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Take the loss, a mean of some steps at a time, and log the newest estimate if there is one."""
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if self.final is None or loss is None:
            return
        loss = loss.detach() * trainer.accumulate_grad_batches  # Lightning has divided it
        self._sum, self._count = loss if self._sum is None else self._sum + loss, self._count + 1
        if self._count < trainer.log_every_n_steps * trainer.accumulate_grad_batches:
            return
        self.final.add(trainer.global_step, float(self._sum) / self._count)
        self._sum, self._count = None, 0
        estimate = self.final.poll()
        if estimate is not None:
            pl_module.log_dict(estimate.logged(), prog_bar=True, rank_zero_only=True)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """End the process that forecasts."""
        if self.final is not None:
            self.final.close()
            self.final = None
