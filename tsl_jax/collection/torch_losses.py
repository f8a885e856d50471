"""Losses of tokens in PyTorch, a block of tokens and of the vocabulary at a time."""

from typing import Any

from .token_losses import refuse_unknown


def nll(hidden: Any, head: Any, ids: Any, block_bytes: int) -> Any:
    """`token_nll` of tensors."""
    import torch  # pyright: ignore[reportMissingImports]

    with torch.no_grad(), torch.autocast(hidden.device.type, enabled=False):
        hidden, head, ids = _whole(hidden), _whole(head), _whole(ids)
        states, targets = hidden.reshape(-1, hidden.shape[-1]), ids.reshape(-1).to(hidden.device)
        total, chosen, vocabulary = (_of_function if callable(head) else _of_weights)(
            states, head, targets, block_bytes
        )
        refuse_unknown(targets, vocabulary)
        losses = torch.where(targets >= 0, total - chosen, torch.nan)
        return losses.reshape(ids.shape)


def _whole(tensor: Any) -> Any:
    """All of a tensor whose parts lie in several processes, as weights under FSDP2 do; all of them have to ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _of_weights(states: Any, head: Any, targets: Any, block_bytes: int) -> tuple[Any, Any, int]:
    """Log-sums and chosen logits. Some rows of the head at a time, which become float32 once."""
    import torch  # pyright: ignore[reportMissingImports]

    vocabulary, width = head.shape
    entries = max(1, min(vocabulary, block_bytes // (4 * width)))
    rows = max(1, block_bytes // (4 * entries))
    total = torch.full((len(states),), -torch.inf, device=states.device)
    chosen = torch.zeros(len(states), device=states.device)
    for first in range(0, vocabulary, entries):
        weights = head[first : first + entries].to(states.device).float()
        for start in range(0, len(states), rows):
            part = slice(start, start + rows)
            logits = states[part].float() @ weights.T
            total[part] = torch.logaddexp(total[part], torch.logsumexp(logits, -1))
            place = targets[part].long() - first
            here = (place >= 0) & (place < len(weights))
            found = logits.gather(-1, torch.where(here, place, 0)[:, None])[:, 0]
            chosen[part] = torch.where(here, found, chosen[part])
    return total, chosen, vocabulary


def _of_function(states: Any, head: Any, targets: Any, block_bytes: int) -> tuple[Any, Any, int]:
    """Log-sums and chosen logits of a head that is a function."""
    import torch  # pyright: ignore[reportMissingImports]

    vocabulary = head(states[:1]).shape[-1]
    rows, total, chosen = max(1, block_bytes // (4 * vocabulary)), [], []
    for start in range(0, len(states), rows):
        logits = head(states[start : start + rows]).float()
        place = targets[start : start + rows].long().clamp(0, vocabulary - 1)
        total.append(torch.logsumexp(logits, -1))
        chosen.append(logits.gather(-1, place[:, None])[:, 0])
    empty = torch.zeros(0, device=states.device)
    return torch.cat([empty, *total]), torch.cat([empty, *chosen]), vocabulary
