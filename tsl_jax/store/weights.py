"""Tables of sampling weights as files: NumPy's ``.npz`` or Parquet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .errors import StoreError
from .user_files import write_file


def write_weights(path: str | Path, columns: Mapping[str, np.ndarray], attributes: Mapping[str, str]) -> None:
    """Write columns of one length; the file appears whole or not at all.

    Args:
        path: ends with ``.npz`` (an array a column, attributes as strings under their names) or ``.parquet`` (a column
            each, attributes in the schema's metadata; needs pyarrow).
        columns: by name, (sequences,).
        attributes: what the weights come from.

    Raises:
        StoreError: another ending, or Parquet without pyarrow.
        WriteError: the file could not be written.

    Example:
        >>> import tempfile, numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_weights(f"{folder}/weights.npz", {"weight": np.ones(2)}, {"window": "1:2"})
        ...     with np.load(f"{folder}/weights.npz") as written:
        ...         written["weight"].tolist()
        [1.0, 1.0]
    """
    path = Path(path)
    write = _WRITERS.get(path.suffix.lower())
    if write is None:
        raise StoreError(f"{path}: got a file ending {path.suffix!r}, expected .npz or .parquet")
    write_file(path, "the weights", lambda file: write(file, columns, attributes))


def _write_npz(file: BinaryIO, columns: Mapping[str, np.ndarray], attributes: Mapping[str, str]) -> None:
    arrays: dict[str, Any] = {**columns, **{name: np.array(text) for name, text in attributes.items()}}
    np.savez_compressed(file, **arrays)


def _write_parquet(file: BinaryIO, columns: Mapping[str, np.ndarray], attributes: Mapping[str, str]) -> None:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise StoreError("Parquet files need pyarrow: pip install 'tsl_jax[parquet]', or write .npz") from error
    table = pyarrow.table({name: pyarrow.array(values) for name, values in columns.items()})
    pyarrow.parquet.write_table(table.replace_schema_metadata(dict(attributes)), file)


_WRITERS = {".npz": _write_npz, ".parquet": _write_parquet}
#: What the name of a file of weights may end with.
WEIGHT_FILES = tuple(_WRITERS)
