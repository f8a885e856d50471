"""Losses of the tokens of prompts, as the inference servers vLLM and SGLang give them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..store import StoreError

#: What vLLM's server writes for a probability of 0.
_ZERO = -9999.0


def losses_of_vllm(outputs: Iterable[Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Losses out of the answers of vLLM to prompts that were asked for with ``SamplingParams(prompt_logprobs=0)``.

    Of each prompt ``prompt_logprobs`` has an entry a token: None for the first, which nothing comes before, then a
    mapping from token ids, the prompt's own among them, to what has a ``logprob``. The first token has no loss and is
    left out.

    Args:
        outputs: ``RequestOutput`` of ``LLM.generate``, in order of the validation set; or mappings with
            ``prompt_token_ids`` and ``prompt_logprobs``, as its server answers in JSON.

    Returns:
        A batch of ``token_id``, ``mask``, ``position`` and ``sequence``, and losses (prompts, longest - 1) in nat, as
        `tsl_jax.LossWriter.write` takes them; shorter prompts are padded, where the mask is False.

    Raises:
        StoreError: an answer has no log-probabilities, lacks those of its own tokens, or has others than tokens.

    Example:
        >>> output = {"prompt_token_ids": [7, 3], "prompt_logprobs": [None, {"3": {"logprob": -0.5, "rank": 1}}]}
        >>> batch, losses = losses_of_vllm([output])
        >>> batch["token_id"].tolist(), losses.tolist()
        ([[3]], [[0.5]])
    """
    return _as_batch("outputs", [_of_vllm(at, output) for at, output in enumerate(_listed("outputs", outputs))])


def losses_of_sglang(answers: Iterable[Any]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Losses out of the answers of SGLang to prompts sent with ``return_logprob`` and ``logprob_start_len=0``.

    Of each answer ``meta_info["input_token_logprobs"]`` has a triple a token: its log-probability, None for the first,
    its id, and its text or None. The first token has no loss and is left out.

    Args:
        answers: mappings with ``meta_info``, as ``Engine.generate`` and the server's ``/generate`` give them, in order
            of the validation set.

    Returns:
        A batch of ``token_id``, ``mask``, ``position`` and ``sequence``, and losses (prompts, longest - 1) in nat, as
        `tsl_jax.LossWriter.write` takes them; shorter prompts are padded, where the mask is False.

    Raises:
        StoreError: an answer has no log-probabilities, or not those of all its tokens.

    Example:
        >>> answer = {"meta_info": {"prompt_tokens": 2, "input_token_logprobs": [(None, 7, None), (-0.5, 3, None)]}}
        >>> batch, losses = losses_of_sglang([answer])
        >>> batch["token_id"].tolist(), losses.tolist()
        ([[3]], [[0.5]])
    """
    return _as_batch("answers", [_of_sglang(at, answer) for at, answer in enumerate(_listed("answers", answers))])


def _listed(name: str, answers: Any) -> list[Any]:
    if isinstance(answers, Mapping | str) or not isinstance(answers, Iterable):
        raise StoreError(f"{name}: got one {type(answers).__name__}, expected a list of answers, one a prompt")
    return list(answers)


def _of_vllm(at: int, output: Any) -> tuple[list[int], list[float]]:
    ids, found = _field(output, "prompt_token_ids"), _field(output, "prompt_logprobs")
    name = f"outputs[{at}]"
    if found is None:
        raise StoreError(
            f"{name}: has no prompt_logprobs; ask for them with SamplingParams(prompt_logprobs=0, max_tokens=1), or "
            '"prompt_logprobs": 0 in a request'
        )
    if ids is None:
        raise StoreError(
            f"{name}: has no prompt_token_ids, which say whose log-probabilities these are; give the whole answer, and "
            'of a server ask for them with "return_token_ids": true'
        )
    entries, ids = list(found), [int(token) for token in ids]
    if len(entries) != len(ids):
        raise StoreError(
            f"{name}: has {len(entries)} prompt_logprobs and {len(ids)} prompt_token_ids, expected as many"
        )
    values = []
    for place, (token, entry) in enumerate(zip(ids[1:], entries[1:], strict=True), start=1):
        if not isinstance(entry, Mapping) or not (token in entry or str(token) in entry):
            came = "none" if not entry else f"those of {', '.join(map(str, list(entry)[:3]))}"
            raise StoreError(
                f"{name}.prompt_logprobs[{place}]: has {came}, expected that of token {token}, the prompt's own; is a "
                "part of the prompt cached or cut off?"
            )
        logprob = entry[token] if token in entry else entry[str(token)]
        values.append(_field(logprob, "logprob") if not isinstance(logprob, int | float) else logprob)
    return ids[1:], _losses(f"{name}.prompt_logprobs", values)


def _of_sglang(at: int, answer: Any) -> tuple[list[int], list[float]]:
    name, about = f"answers[{at}]", _field(answer, "meta_info")
    found = None if about is None else _field(about, "input_token_logprobs")
    if not found:
        raise StoreError(
            f"{name}: has no meta_info['input_token_logprobs']; ask for them with return_logprob=True and "
            "logprob_start_len=0"
        )
    for place, entry in enumerate(found):
        if not isinstance(entry, Sequence) or len(entry) < 2 or not isinstance(entry[1], int | np.integer):
            raise StoreError(
                f"{name}.meta_info['input_token_logprobs'][{place}]: got {entry!r}, expected (logprob, token id, text)"
            )
    size = _field(about, "prompt_tokens")
    if size is not None and len(found) != size:
        raise StoreError(
            f"{name}: has log-probabilities of {len(found)} tokens of {size}; ask for all with logprob_start_len=0"
        )
    values = [entry[0] for entry in found[1:]]
    return [int(entry[1]) for entry in found[1:]], _losses(f"{name}.meta_info['input_token_logprobs']", values)


def _losses(name: str, values: list[Any]) -> list[float]:
    for place, value in enumerate(values, start=1):
        known = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not known or math.isnan(value) or not _ZERO < value < 1e-6:
            raise StoreError(
                f"{name}[{place}]: got {value!r}, expected a finite log-probability, at most 0; the first token alone "
                "has none"
            )
    return [max(0.0, -float(value)) for value in values]


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _as_batch(name: str, found: list[tuple[list[int], list[float]]]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    longest = max((len(ids) for ids, _ in found), default=0)
    if not longest:
        raise StoreError(f"{name}: {len(found)} prompts of at most one token, expected one of two or more")
    shape = len(found), longest
    token_id, mask = np.zeros(shape, np.int32), np.zeros(shape, bool)
    losses = np.full(shape, np.nan, np.float32)
    for row, (ids, values) in enumerate(found):
        token_id[row, : len(ids)], losses[row, : len(ids)], mask[row, : len(ids)] = ids, values, True
    position = np.broadcast_to(np.arange(1, longest + 1), shape)
    return {"token_id": token_id, "mask": mask, "position": position, "sequence": np.arange(len(found))}, losses
