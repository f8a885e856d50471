"""Losses of batches by a causal language model of `transformers`, on one or several devices."""

import copy
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from ..store import StoreError
from .batches import Tokens
from .jax_losses import Measured
from .token_losses import token_nll


class TorchEvaluator:
    """The rows of each batch shared out over devices, a copy of the model on each.

    Args:
        devices: names or objects of PyTorch devices; None: all GPUs of the process, or the CPU.
        logits: whether the logits' mean and spread are wanted.
        block_bytes: float32 logits in memory at a time, on each device.
    """

    def __init__(self, devices: list[Any] | None, logits: bool, block_bytes: int) -> None:
        self._given = devices, logits, block_bytes
        self._devices, self._logits, self._block_bytes = devices or _all_devices(), logits, block_bytes
        self._workers = [ThreadPoolExecutor(1, f"tsl-{device}") for device in self._devices]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._given  # another process has threads, and maybe GPUs, of its own

    def prepare(self, params: Any, tokens: Tokens) -> Any:
        """Copies of the model on all devices, and how to compute their logits.

        Raises:
            StoreError: the text has token ids that the model does not know.
        """
        known = int(params.get_input_embeddings().num_embeddings)
        largest = int(tokens.batch["input_id"].max(initial=0))
        if largest >= known:
            raise StoreError(f"text: holds token id {largest}, but the model knows {known}; its tokenizer is another")
        context, most = tokens.shape[1], getattr(params.config, "max_position_embeddings", None)
        if most is not None and context > most:
            raise StoreError(f"context: got {context}, expected at most {most}, as the model was made for")
        models = [params, *(copy.deepcopy(params) for _ in self._devices[1:])]
        models = [model.eval().to(device) for model, device in zip(models, self._devices, strict=True)]
        return [(model, _head(model, tokens.batch["input_id"][:1, :16])) for model in models]

    def submit(self, params: Any, tokens: Tokens) -> Any:
        """Begin a batch: each device gets some of its rows."""
        rows = np.array_split(np.arange(tokens.shape[0]), len(self._devices))
        return [
            worker.submit(self._measure, copied, {name: tokens.batch[name][part] for name in _NEEDED})
            for worker, copied, part in zip(self._workers, params, rows, strict=True)
            if len(part)
        ]

    def fetch(self, pending: list[Future]) -> Measured:
        """Losses of all rows, and sums of the logits' mean and variance."""
        found = [future.result() for future in pending]
        sums = np.sum([part[1] for part in found], axis=0) if self._logits else None
        return np.concatenate([part[0] for part in found]), sums

    def _measure(self, copied: tuple[Any, Any], batch: dict[str, np.ndarray]) -> Measured:
        """Losses of a few rows: the log-softmax in float32, a block of tokens at a time."""
        import torch  # pyright: ignore[reportMissingImports]

        model, head = copied
        with torch.inference_mode():
            ids, targets, mask = (torch.as_tensor(batch[name], device=model.device) for name in _NEEDED)
            states = model(ids.long()).logits if head is None else model.base_model(ids.long())[0]
            states, targets, mask = states.flatten(0, 1), targets.flatten().long(), mask.flatten()
            vocabulary = states.shape[-1] if head is None else head.weight.shape[0]
            rows = max(1, self._block_bytes // (4 * vocabulary))
            losses, sums = [], torch.zeros(2, dtype=torch.float64)
            for start in range(0, len(states), rows):
                part = slice(start, start + rows)
                logits = (states[part] if head is None else head(states[part])).float()
                chosen = logits.gather(-1, targets[part, None])[:, 0]
                losses.append(torch.logsumexp(logits, -1) - chosen)
                if self._logits:
                    variance, mean = torch.var_mean(logits, -1, correction=0)
                    sums += torch.stack([mean, variance])[:, mask[part]].double().sum(1).cpu()
            flat = torch.cat(losses).cpu().numpy()
        return flat.reshape(batch["mask"].shape), sums.numpy()


def _all_devices() -> list[str]:
    import torch  # pyright: ignore[reportMissingImports]

    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]


_NEEDED = ("input_id", "token_id", "mask")


def _head(model: Any, ids: np.ndarray) -> Any:
    """The layer that makes logits of the last hidden states, so that they need not be made for all tokens at once.

    Models that do more after it (scale, cap) are told by their logits; None for them, whose logits are taken whole.
    """
    import torch  # pyright: ignore[reportMissingImports]

    head = model.get_output_embeddings()
    if head is None or model.base_model is model:
        return None
    with torch.inference_mode():
        few = torch.as_tensor(ids, device=model.device).long()
        whole, states = model(few).logits, model.base_model(few)[0]
        if states.shape[-1] != getattr(head, "in_features", states.shape[-1]):
            return None
        parts = head(states)
        same = parts.shape == whole.shape and torch.allclose(parts, whole, rtol=1e-5, atol=1e-5)
    return head if same else None


def batch_losses(model: Any, batch: Any, block_bytes: int) -> np.ndarray:
    """Losses (sequences, positions) of a batch by a model that is being trained: it is left in the mode it was in.

    Args:
        model: causal language model of `transformers`, or a module whose output has ``logits``.
        batch: ``input_id`` and ``token_id``, the tokens that follow, (sequences, positions).
        block_bytes: float32 logits in memory at a time.

    Raises:
        StoreError: the batch has no ``input_id``.
    """
    import torch  # pyright: ignore[reportMissingImports]

    if "input_id" not in batch:
        raise StoreError(f"batches: have {', '.join(batch)}, expected input_id too, what the model reads")
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            device = next(model.parameters()).device
            ids, targets = (torch.as_tensor(batch[name], device=device).long() for name in ("input_id", "token_id"))
            head = _head(model, batch["input_id"][:1, :16]) if hasattr(model, "get_output_embeddings") else None
            if head is None:
                found = token_nll(model(input_ids=ids).logits, lambda logits: logits, targets, block_bytes=block_bytes)
            else:
                states = model.base_model(ids)[0]
                own = head.weight if getattr(head, "bias", None) is None else head
                found = token_nll(states, own, targets, block_bytes=block_bytes)
        return found.cpu().numpy()
    finally:
        model.train(training)
