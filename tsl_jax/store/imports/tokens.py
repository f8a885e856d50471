"""What is known of the tokens, given beside the losses: by name, or in a file of a row a token."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...arguments import known_array
from ..errors import StoreError
from ..names import as_store_errors
from .cells import Names, smallest
from .files import FILES, ONLY, open_file
from .incoming import FlatColumn
from .source_array import of_numpy
from .tables import is_table, whole_table

Tokens = Mapping[str, Any] | str | os.PathLike[str]


def given_tokens(tokens: Tokens | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Coordinates of tokens by name, and the attributes that name what is text in them.

    Args:
        tokens: arrays by name, of one number a token, or of one text; or a table of a row a token; or a file of arrays.

    Raises:
        StoreError: the file cannot be read, or a column holds no numbers.
    """
    if tokens is None:
        return {}, {}
    if isinstance(tokens, str | os.PathLike):
        tokens = _of_file(Path(tokens).expanduser())
    if not isinstance(tokens, Mapping) and hasattr(tokens, "columns"):  # a data frame
        tokens = {str(name): tokens[name] for name in tokens.columns}
    if not isinstance(tokens, Mapping):
        raise StoreError(
            f"tokens: got {type(tokens).__name__}, expected arrays by name, such as {{'position': [0, 1]}}, or a file"
        )
    found, attributes = {}, {}
    for name, column in tokens.items():
        found[name], said = _column(str(name), column)
        attributes |= said
    return found, attributes


def _column(name: str, column: Any) -> tuple[Any, dict[str, Any]]:
    with as_store_errors():
        values = column if isinstance(column, np.ma.MaskedArray) else np.asarray(column)
        if values.dtype.kind in "OUT":
            import pandas

            cells, names = pandas.Series(values.reshape(-1), dtype=object), Names()
            frame = pandas.DataFrame({name: cells.where(cells.isna(), cells.astype(str))})
            return smallest(names.numbers("tokens", frame, name)), names.attributes(name)
        values = known_array(f"tokens[{name!r}]", values, None)
    return FlatColumn(name, [of_numpy(f"tokens[{name!r}]", values)]) if values.ndim > 1 else values, {}


def _of_file(path: Path) -> dict[str, Any]:
    """The columns or arrays of a file."""
    if not path.is_file():
        raise StoreError(f"tokens: no such file as {path}; give a table of a row a token, or a file of arrays")
    if is_table(path):
        frame = whole_table(path)
        names = [name for name in frame if not str(name).startswith("Unnamed: ")]
        return {str(name): frame[name].to_numpy() for name in names}
    if path.suffix.lower() in FILES:
        arrays = open_file(path)
        if path.suffix.lower() == ".npy":
            return {path.stem: arrays[ONLY][...]}
        return {name: array[...] for name, array in arrays.items() if array.ndim}
    raise StoreError(f"tokens: {path} is of no kind that can be read; give .csv, .tsv, .parquet, .npy or .npz")
