"""The columns of a table of fits: names as in a fit store, codes as words."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...fitting import Category, Fit, Status
from ...store import PROBABILITY_ARRAYS, StoredFit
from ...store.code_names import names_of_codes

#: Columns that hold codes, with the words that tables have for them.
CODES: dict[str, dict[int, str]] = {
    "status": {int(code): code.name for code in Status},
    "category": {int(code): code.name for code in Category},
}


def columns_of(fit: Fit | StoredFit) -> dict[str, np.ndarray]:
    """All arrays of fits, by the names that they have in a fit store.

    Args:
        fit: in memory; its arrays may be JAX's.

    Returns:
        Arrays of the shape of the curves: parameters, ``<name>_stderr``, `rss`, `r2`, `constant`, `num_points`,
        `status` and `category` as codes, ..., and for families with an event ``<category>_probability`` and
        `second_event`.
    """
    # Programs of JAX return dictionaries in alphabetical order.
    parameters = fit.family.names if isinstance(fit, Fit) else tuple(fit.params)
    columns: dict[str, Any] = {name: fit.params[name] for name in parameters}
    columns |= {f"{name}_stderr": fit.stderr[name] for name in parameters}
    names = ("rss", "r2", "constant", "num_points", "status", "category", "noise_correlation", "effective_points")
    columns |= {name: getattr(fit, name) for name in names}
    likely = dict(fit.probabilities) | ({} if fit.second_event is None else {"second_event": fit.second_event})
    columns |= {stored: likely[name] for name, stored in PROBABILITY_ARRAYS.items() if name in likely}
    return {name: np.asarray(values) for name, values in columns.items()}


def words_of(name: str, values: np.ndarray, attributes: Mapping[str, Any]) -> dict[int, str] | None:
    """The words for the codes of a column; None for numbers.

    Args:
        name: of the column.
        values: in it.
        attributes: of the store, which name the codes of a token coordinate: `names_of_codes`.
    """
    if name in CODES:
        return CODES[name]
    names = names_of_codes(attributes, name) if values.dtype.kind in "iu" else []
    return dict(enumerate(names)) or None


def coded(codes: np.ndarray, words: Mapping[int, str]) -> tuple[np.ndarray, list[str]]:
    """Places in a list of different words, and that list: codes without a word get one, equal words their code.

    Args:
        codes: (rows,) integers.
        words: by code.
    """
    found, place = np.unique(codes, return_inverse=True)
    known = dict(words) | {int(code): f"code {code}" for code in found if int(code) not in words}
    texts = list(known.values())
    listed = [word if texts.count(word) == 1 else f"{word} ({code})" for code, word in known.items()]
    row = {code: index for index, code in enumerate(known)}
    return np.array([row[int(code)] for code in found], np.int32)[place.reshape(codes.shape)], listed
