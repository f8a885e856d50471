"""Per-token losses of the revisions of a causal language model in `transformers`."""

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..store import LossStore, StoreError, StoreLike
from .checkpoints import Checkpoint
from .hf_folders import quiet_transformers, trainer_checkpoints
from .hf_losses import TorchEvaluator
from .hf_text import first_id_of, read_texts, rows_of, steps_of, token_ids, tokenize_with
from .job import Report, run

_BLOCK_BYTES = 2**28
_OWN_TOKENIZER = "; a tokenizer that lies elsewhere is given with tokenizer= (--tokenizer)"


def collect_hf(
    model: str,
    revisions: Sequence[str] | None,
    text: str | Path | Sequence[str | Path],
    out: StoreLike,
    *,
    steps: Sequence[int] | None = None,
    tokenizer: str | None = None,
    context: int = 1024,
    batch: int = 8,
    precision: Literal["float32", "bfloat16", "float16"] = "float32",
    devices: Sequence[str] | None = None,
    logits: bool = False,
    dtype: Any = np.float16,
    block_bytes: int = _BLOCK_BYTES,
    overwrite: bool = False,
    progress: Report | None = None,
    advance: Callable[[int, int], None] | None = None,
    client: Any = None,
) -> LossStore:
    """Measure every token's loss at every revision of a Hugging Face model, and write a loss store.

    A text is cut into rows of ``context`` tokens, and each of its tokens is predicted once: with what comes before it
    in its row. Revisions are computed one after another and resumed as in `tsl_jax.collect`.

    Args:
        model: name on the Hugging Face Hub, or a local folder that holds one folder a revision, each as
            ``save_pretrained`` writes it: ``MODEL/step1000/config.json`` and so on. A tokenizer may lie in each of
            them, or once in the folder itself. The folder of a ``Trainer`` is one.
        revisions: branches, tags or commits on the Hub, folders in a local one, in order of training; None for all
            ``checkpoint-*`` that a ``Trainer`` saved in a folder, by step.
        text: text files (UTF-8) to measure on; each is a domain, called as the file.
        out: where the loss store goes: a path, a URL or a Zarr store.
        steps: training step of each revision; by default the number in its name, as in ``step1000``.
        tokenizer: name or folder of the tokenizer, where the model comes without one; by default that of the model.
        context: tokens that the model reads at most for one loss.
        batch: rows computed at a time, over all devices.
        precision: of the model's weights and products; the log-softmax is float32 always, in blocks of tokens, so that
            the logits of a large vocabulary never are in memory whole (models that cap or scale their logits apart).
        devices: PyTorch devices; all GPUs by default, or the CPU. Each gets a copy of the model and some of the rows.
        logits: whether to record `logit_mean` and `logit_spread` a checkpoint.
        dtype: float16, float32 or float64, of the losses.
        block_bytes: float32 logits in memory at a time.
        overwrite: delete losses that are there and begin anew.
        progress: called with a `CheckpointReport` after each revision.
        advance: called with the tokens done and those of all revisions, after each batch.
        client: measure in the workers of a cluster, some batches each; see `tsl_jax.fit_store`. Each loads the
            revisions itself: a local folder is one that all of them see.

    Returns:
        The open loss store, with token coordinates `sequence`, `position`, `token_id`, `domain`.

    Raises:
        StoreError: the extra ``hf`` is not installed, a revision is unknown, the tokenizers of two revisions disagree,
            a text is empty, or as `tsl_jax.collect`.

    Example:
        >>> from tsl_jax.collection import collect_hf
        >>> def pythia(text):
        ...     revisions = [f"step{step}" for step in (1000, 2000, 4000)]
        ...     return collect_hf("EleutherAI/pythia-70m", revisions, text, "losses.zarr")
    """
    for name, value in (("context", context), ("batch", batch)):
        if value < 1:
            raise StoreError(f"{name}: got {value}, expected at least 1")
    revisions = trainer_checkpoints(model) if revisions is None else revisions
    numbers = steps_of(revisions, steps)
    torch, _ = _import()
    with quiet_transformers():
        texts = read_texts([text] if isinstance(text, str | Path) else text)
        sources = {revision: _source(model, revision) for revision in revisions}
        tokenizers = {name: _tokenizer(model, name, *source, tokenizer) for name, source in sources.items()}
        first_id = first_id_of(next(iter(tokenizers.values())))
        ids = token_ids(texts, {revision: tokenize_with(found) for revision, found in tokenizers.items()})
        checkpoints = _checkpoints(model, zip(numbers, revisions, strict=True), sources, getattr(torch, precision))
        return run(
            TorchEvaluator(None if devices is None else list(devices), logits, block_bytes),
            checkpoints,
            rows_of(ids, context, batch, first_id),
            out,
            coordinates=None,
            logits=logits,
            dtype=dtype,
            attributes={"domains": list(texts), "revisions": list(revisions)},
            overwrite=overwrite,
            progress=progress,
            advance=advance,
            client=client,
            identity={"model": model, "context": context, "precision": precision},
        )


def _checkpoints(
    model: str, revisions: Iterable[tuple[int, str]], sources: dict[str, tuple[str, dict[str, Any]]], dtype: Any
) -> list[Checkpoint]:
    """Revisions by step, each loaded only when it is needed."""
    found = []
    for step, revision in revisions:
        name, keywords = sources[revision]
        options = {"dtype": dtype, **keywords}
        load = functools.partial(_from, "AutoModelForCausalLM", model, revision, name, options)
        found.append(Checkpoint(step, load, f"revision {revision!r} (step {step})"))
    return found


def _import() -> tuple[Any, Any]:
    try:
        import torch  # pyright: ignore[reportMissingImports]
        import transformers  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise StoreError(
            f"collect_hf: needs PyTorch and transformers ({error}). Install them with: pip install 'tsl_jax[hf]'"
        ) from error
    return torch, transformers


def _source(model: str, revision: str) -> tuple[str, dict[str, Any]]:
    """What `from_pretrained` is given for a revision."""
    folder = Path(model).expanduser()
    if not folder.is_dir():
        return model, {"revision": revision}
    if not (folder / revision / "config.json").is_file():
        there = sorted(path.parent.name for path in folder.glob("*/config.json"))
        raise StoreError(
            f"revisions: {model} has no folder {revision!r} with a model, expected one of {', '.join(there) or 'none'}"
        )
    return str((folder / revision).absolute()), {}  # a worker may run elsewhere


def _tokenizer(model: str, revision: str, name: str, keywords: dict[str, Any], other: str | None) -> Any:
    if other is not None:
        return _from("AutoTokenizer", model, revision, other, {})
    lies_there = keywords or (Path(name) / "tokenizer_config.json").is_file()
    return _from("AutoTokenizer", model, revision, name if lies_there else model, keywords)


def _from(kind: str, model: str, revision: str, name: str, keywords: dict[str, Any]) -> Any:
    """``from_pretrained`` of a class, its failures in the words of this package."""
    import transformers  # pyright: ignore[reportMissingImports]

    try:
        return getattr(transformers, kind).from_pretrained(name, **keywords)
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0].rstrip(".")
        raise StoreError(
            f"revisions: {revision!r} of {model} cannot be loaded ({kind}: {reason}). Check the names of the model "
            f"and of the revision, and the connection{_OWN_TOKENIZER if kind == 'AutoTokenizer' else ''}."
        ) from error
