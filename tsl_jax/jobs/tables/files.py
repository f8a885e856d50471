"""Fits as one table in a file, Parquet or CSV, written block by block in bounded memory."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ...store import FitStore, StoreError, StoreLike, open_fits
from ...store.user_files import write_file
from ...stream.ahead import in_order
from ...stream.parts import Part, parts_of
from .frames import to_pandas

if TYPE_CHECKING:
    import pandas

#: Rows of a block, and of a row group of Parquet.
_BLOCK_ROWS = 2**17


def export_fits(
    fits: StoreLike | FitStore,
    path: str | os.PathLike[str],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a fit store as one table with a row a token: the columns of `to_pandas`, `token` first.

    Values that are missing are null in Parquet and empty in CSV; codes and domains are in words. A token that is not
    fitted yet has a row too, with the status PENDING. The file is whole under its name, or is not there.

    Args:
        fits: an open fit store, or whatever opens as one.
        path: ends with ``.parquet`` (needs pyarrow) or ``.csv``; folders that are absent are made.
        progress: called with the rows written and all rows.

    Returns:
        How many rows were written, the number of tokens.

    Raises:
        StoreError: another ending, Parquet without pyarrow, or no valid fit store.
        ChunkError: a chunk of the store is corrupted.
        WriteError: the file could not be written.

    Example:
        >>> import tempfile, numpy as np, pandas, zarr, tsl_jax as tsl
        >>> step = np.geomspace(10, 1e4, 32)
        >>> losses = 1 + 5 / (1 + (step / np.array([[100.0], [800.0]])) ** 3)
        >>> source, target = zarr.storage.MemoryStore(), zarr.storage.MemoryStore()
        >>> _ = tsl.create_losses(source, losses.astype("float32"), checkpoints={"step": step})
        >>> _ = tsl.fit_store(source, target, tsl.Sigmoid())
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rows = tsl.export_fits(target, f"{folder}/fits.csv")
        ...     rows, pandas.read_csv(f"{folder}/fits.csv")["category"].tolist()
        (2, ['LEARNED', 'LEARNED'])
    """
    path = Path(path)
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        got = f"the ending {path.suffix!r}" if path.suffix else "no ending"
        raise StoreError(f"path: {path} has {got}, expected {' or '.join(TABLE_FILES)}")
    store = fits if isinstance(fits, FitStore) else open_fits(fits)

    def read(part: Part) -> "pandas.DataFrame":
        return to_pandas(store, part.tokens).reset_index()

    def write(file: BinaryIO) -> None:
        done = 0
        with writer(file, to_pandas(store, slice(0, 0)).reset_index(), _about(store)) as add:
            for _, frame in in_order(read, parts_of(store, _BLOCK_ROWS)):
                add(frame)
                done += len(frame)
                if progress is not None:
                    progress(done, store.num_tokens)

    write_file(path, "the table", write)
    return store.num_tokens


def _about(store: FitStore) -> dict[str, str]:
    """What a table is of, for the metadata of its file."""
    return {"family": store.family, "axis": store.axis_name, "scale": store.scale, "fits": store.name}


@contextmanager
def _csv(file: BinaryIO, empty: "pandas.DataFrame", about: dict[str, str]) -> Iterator[Callable[[Any], None]]:
    empty.to_csv(file, index=False)
    yield lambda frame: frame.to_csv(file, index=False, header=False)


@contextmanager
def _parquet(file: BinaryIO, empty: "pandas.DataFrame", about: dict[str, str]) -> Iterator[Callable[[Any], None]]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise StoreError("Parquet files need pyarrow: pip install 'tsl_jax[parquet]', or write .csv") from error

    def plain(kind: Any) -> Any:
        # Categories as text, which Parquet stores as a dictionary anyway; float16 is not read everywhere.
        kind = pyarrow.string() if pyarrow.types.is_dictionary(kind) else kind
        return pyarrow.float32() if pyarrow.types.is_float16(kind) else kind

    found = pyarrow.Table.from_pandas(empty, preserve_index=False).schema
    schema = pyarrow.schema([(field.name, plain(field.type)) for field in found], metadata=about)
    with ParquetWriter(file, schema) as writer:
        yield lambda frame: writer.write_table(
            pyarrow.Table.from_pandas(frame, preserve_index=False).cast(schema), row_group_size=_BLOCK_ROWS
        )


_WRITERS = {".parquet": _parquet, ".csv": _csv}
#: What the name of a table may end with.
TABLE_FILES = tuple(_WRITERS)
