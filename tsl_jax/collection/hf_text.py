"""Text files as batches of token ids, the same for every revision of a model."""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..store import StoreError

#: From a text to its token ids.
Tokenize = Callable[[str], list[int]]


def read_texts(paths: Sequence[str | Path]) -> dict[str, str]:
    """Text files by the name of their domain, which is that of the file.

    Raises:
        StoreError: a file cannot be read, is empty, or two have one name.
    """
    texts: dict[str, str] = {}
    for path in map(Path, paths):
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise StoreError(f"text: {path} is not UTF-8 ({error}); convert it") from error
        except OSError as error:
            raise StoreError(f"text: {path} cannot be read ({error.strerror}); give a text file") from error
        if not text.strip():
            raise StoreError(f"text: {path} is empty, expected some text")
        if path.stem in texts:
            raise StoreError(f"text: two files are called {path.stem!r}, the name of their domain; rename one")
        texts[path.stem] = text
    if not texts:
        raise StoreError("text: got no file, expected at least one")
    return texts


def token_ids(texts: Mapping[str, str], tokenizers: Mapping[str, Tokenize]) -> dict[str, np.ndarray]:
    """Token ids of each text, after making sure that every revision's tokenizer gives the same.

    Args:
        texts: by domain.
        tokenizers: by revision.

    Raises:
        StoreError: two revisions tokenize a text unlike; it says which, and where.
    """
    first, found = next(iter(tokenizers)), {}
    for domain, text in texts.items():
        found[domain] = np.asarray(tokenizers[first](text), np.int32)
        for revision, tokenize in tokenizers.items():
            if revision != first:
                _check_same(domain, first, found[domain], revision, np.asarray(tokenize(text), np.int32))
    return found


def _check_same(domain: str, first: str, ids: np.ndarray, revision: str, others: np.ndarray) -> None:
    same = min(len(ids), len(others))
    unlike = np.flatnonzero(ids[:same] != others[:same])
    if len(unlike):
        at = unlike[0]
        what = f"token {at} of {domain} is {ids[at]} to revision {first!r} and {others[at]} to {revision!r}"
    elif len(ids) != len(others):
        what = f"{domain} has {len(ids)} tokens to revision {first!r} and {len(others)} to {revision!r}"
    else:
        return
    raise StoreError(
        f"revisions: their tokenizers disagree: {what}. The losses of other tokens cannot be compared; leave out the "
        "revisions with the other tokenizer, or collect them into another store."
    )


def rows_of(ids: Mapping[str, np.ndarray], context: int, batch: int, first_id: int | None) -> list[dict[str, Any]]:
    """Batches of rows of ``context`` tokens: each token of a text is predicted once.

    Args:
        ids: (tokens,) by domain; rows do not cross from one to the next.
        context: tokens that a row's model reads.
        batch: rows in a batch; the last is padded, so that all have one shape.
        first_id: put before each row, as the model was trained; None to begin with the row's first token, which is
            then predicted by the row before, and the text's first not at all.

    Returns:
        Batches of ``input_id``, ``token_id``, ``mask``, (batch, context), and ``domain``, (batch,).

    Raises:
        StoreError: no token can be predicted.
    """
    inputs, targets, masks, domains = [], [], [], []
    for domain, text in enumerate(ids.values()):
        wanted = text if first_id is not None else text[1:]
        for start in range(0, len(wanted), context):
            target = wanted[start : start + context]
            read = text[start : start + len(target)]
            read = read if first_id is None else np.concatenate([[first_id], read[:-1]])
            padding = (0, context - len(target))
            inputs.append(np.pad(read, padding))
            targets.append(np.pad(target, padding))
            masks.append(np.arange(context) < len(target))
            domains.append(domain)
    if not inputs:
        sizes = ", ".join(f"{name} has {len(text)}" for name, text in ids.items())
        raise StoreError(f"text: no token has one before it ({sizes}); expected at least 2 tokens")
    short = -len(inputs) % batch
    for rows, filler in ((inputs, inputs[0]), (targets, targets[0]), (masks, masks[0] & False), (domains, 0)):
        rows += [filler] * short
    columns = {"input_id": inputs, "token_id": targets, "mask": masks, "domain": domains}
    stacked = {name: np.asarray(rows, bool if name == "mask" else np.int32) for name, rows in columns.items()}
    return [
        {name: values[start : start + batch] for name, values in stacked.items()}
        for start in range(0, len(inputs), batch)
    ]


def steps_of(revisions: Sequence[str], steps: Sequence[int] | None = None) -> list[int]:
    """Training steps of revisions: those given, or the number in each name, after "step" where that is there.

    Raises:
        StoreError: a name holds no number, or there are more or fewer steps than revisions.

    Example:
        >>> steps_of(["step1000", "stage1-step2000-tokens9B"])
        [1000, 2000]
    """
    if not revisions:
        raise StoreError("revisions: got none, expected at least one, such as step1000")
    if steps is not None:
        if len(steps) != len(revisions):
            raise StoreError(f"steps: got {len(steps)}, expected one for each of {len(revisions)} revisions")
        return [int(step) for step in steps]
    found = []
    for revision in revisions:
        match = re.search(r"step[-_ ]?(\d+)", revision, re.IGNORECASE) or re.search(r"(\d+)(?!.*\d)", revision)
        if match is None:
            raise StoreError(f"revisions: no step in the name {revision!r}; give the steps too, one a revision")
        found.append(int(match[1]))
    return found


def text_batches(
    text: str | Path | Sequence[str | Path], tokenizer: Any, *, context: int = 1024, batch: int = 8
) -> list[dict[str, Any]]:
    """Text files as batches for `tsl_jax.collection.hf_callbacks.LossCallback`: each token is predicted once.

    Args:
        text: text files (UTF-8); each is a domain, and rows do not cross from one to the next.
        tokenizer: of `transformers`.
        context: tokens that the model reads at most for one loss.
        batch: rows computed at a time.

    Returns:
        Batches of ``input_id``, ``token_id``, ``mask``, (batch, context), and ``domain``, (batch,).

    Raises:
        StoreError: a text cannot be read, is empty, or holds no two tokens.
    """
    texts = read_texts([text] if isinstance(text, str | Path) else text)
    ids = token_ids(texts, {"the tokenizer": tokenize_with(tokenizer)})
    return rows_of(ids, context, batch, first_id_of(tokenizer))


def tokenize_with(tokenizer: Any) -> Tokenize:
    """From a text to its token ids, without those that begin or end one."""
    return lambda text: tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]


def first_id_of(tokenizer: Any) -> int | None:
    """What the tokenizer puts before a text by itself, if it does."""
    ids = tokenizer("a")["input_ids"]
    return ids[0] if ids and tokenizer.bos_token_id is not None and ids[0] == tokenizer.bos_token_id else None
