"""Fits as a table of pandas or a data set of xarray; both are imported when they are asked for."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ...fitting import Fit
from ...store import FitStore
from ...store.code_names import names_of_codes
from .columns import CODES, coded, columns_of, words_of

if TYPE_CHECKING:
    import pandas
    import xarray

#: Units of what is neither a parameter nor its error.
_UNITS = {"rss": "nat²", "constant": "nat"}


def to_pandas(fits: Fit | FitStore, tokens: slice = slice(None)) -> "pandas.DataFrame":
    """Fits as a table: a row a curve, a column a result.

    Args:
        fits: in memory, or an open store: all of it is read, so for large ones give ``tokens``, or write a file with
            `export_fits`.
        tokens: which rows of the first dimension.

    Returns:
        Columns named as in a fit store: parameters, ``<name>_stderr``, `rss`, `r2`, ...; `status` and `category` in
        words, as categories of pandas. Of a store the coordinates of the tokens come first, codes by their names, and
        the index `token` is the row in the store; in memory it is `curve`, or `curve_0`, `curve_1`, ... for
        several dimensions.

    Raises:
        ChunkError: a chunk of the store is corrupted.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> losses = 1.0 + 6.0 / (1.0 + (step / jnp.array([[30.0], [100.0]])) ** 2)
        >>> table = tsl.fit(tsl.Sigmoid(), step, losses).to_pandas()
        >>> table[["learning_time", "category"]].round(1).values.tolist()
        [[30.0, 'LEARNED'], [100.0, 'LEARNED']]
    """
    import pandas

    if isinstance(fits, FitStore):
        start, stop = fits.rows(tokens)
        attributes = fits.attributes
        columns = {name: fits.read_coordinate(name, tokens) for name in fits.token_coordinates}
        columns |= columns_of(fits.read(tokens))
        index: Any = pandas.RangeIndex(start, stop, name="token")
    else:
        fits = fits[tokens] if np.ndim(fits.status) else fits
        attributes, columns = {}, columns_of(fits)
        index = _curve_index(np.shape(fits.status), tokens)

    def column(name: str, values: np.ndarray) -> Any:
        words = words_of(name, values, attributes)
        if words is None:
            return values.reshape(-1)
        places, listed = coded(values.reshape(-1), words)
        return pandas.Categorical.from_codes(places, categories=listed)

    return pandas.DataFrame({name: column(name, values) for name, values in columns.items()}, index=index)


def _curve_index(shape: tuple[int, ...], tokens: slice) -> Any:
    import pandas

    if len(shape) < 2:
        first, _, step = tokens.indices(1 << 62)
        number = shape[0] if shape else 1
        return pandas.RangeIndex(first, first + step * number, step, name="curve")
    return pandas.MultiIndex.from_product([range(n) for n in shape], names=[f"curve_{k}" for k in range(len(shape))])


def to_xarray(fits: Fit | FitStore, tokens: slice = slice(None)) -> "xarray.Dataset":
    """Fits as a data set of xarray, with units, and the meaning of codes by the CF conventions.

    Args:
        fits: in memory, or an open store: all of it is read; ``xarray.open_zarr(path)`` opens a store without that.
        tokens: which rows of the first dimension.

    Returns:
        A variable a result, named as in a fit store and over the dimension `token` of a store, with its coordinates
        and those of the checkpoints; in memory over `curve`, or `curve_0`, `curve_1`, .... `status` and `category` are
        codes with `flag_values` and `flag_meanings`.

    Raises:
        ChunkError: a chunk of the store is corrupted.

    Example:
        >>> import jax.numpy as jnp, tsl_jax as tsl
        >>> step = jnp.geomspace(1.0, 1000.0, 40)
        >>> time = jnp.array([[30.0, 100.0]])[..., None]
        >>> found = tsl.fit(tsl.Sigmoid(), step, 1.0 + 6.0 / (1.0 + (step / time) ** 2)).to_xarray()
        >>> found["learning_time"].dims, found["loss_drop"].attrs["units"], dict(found.sizes)
        (('curve_0', 'curve_1'), 'nat', {'curve_0': 1, 'curve_1': 2})
    """
    import xarray

    if isinstance(fits, FitStore):
        return _store_dataset(fits, tokens)
    fits = fits[tokens] if np.ndim(fits.status) else fits
    shape = np.shape(fits.status)
    dims = ("curve",) if len(shape) == 1 else tuple(f"curve_{k}" for k in range(len(shape)))
    units = {parameter.name: parameter.unit for parameter in fits.family.parameters}
    return xarray.Dataset(
        {
            name: (dims, values, _meaning(name, units.get(name.removesuffix("_stderr"))))
            for name, values in columns_of(fits).items()
        },
        attrs={"family": fits.family.name, "scale": fits.family.scale},
    )


def _store_dataset(fits: FitStore, tokens: slice) -> "xarray.Dataset":
    import xarray

    start, stop = fits.rows(tokens)
    results = columns_of(fits.read(tokens))
    coordinates: dict[str, Any] = {"token": np.arange(start, stop)}
    coordinates |= {name: ("token", fits.read_coordinate(name, tokens)) for name in fits.token_coordinates}
    coordinates |= {name: ("checkpoint", values) for name, values in fits.checkpoint_coordinates.items()}
    for name in fits.token_coordinates:
        if words := names_of_codes(fits.attributes, name):
            flags = {"flag_values": np.arange(len(words)), "flag_meanings": " ".join(map(_one_word, words))}
            coordinates[name] = (*coordinates[name], flags)
    return xarray.Dataset(
        {
            name: ("token", values, _meaning(name, fits.arrays[name].attrs.get("units")))
            for name, values in results.items()
        },
        coords=coordinates,
        attrs={"family": fits.family, "scale": fits.scale, "axis": fits.axis_name, "store": fits.name},
    )


def _one_word(name: str) -> str:
    return "_".join(name.split())


def _meaning(name: str, unit: Any) -> dict[str, Any]:
    """Attributes of a variable: its unit, or what its codes mean."""
    if name in CODES:
        codes = np.array(list(CODES[name]), np.uint8)
        return {"flag_values": codes, "flag_meanings": " ".join(CODES[name].values())}
    return {"units": _UNITS.get(name, "1") if unit is None else unit}
