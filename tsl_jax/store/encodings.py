"""Numbers stored in the ways of netCDF: read as they are stored they would be other numbers, so they are refused.

`xarray` (and netCDF) may store a sentinel in the place of missing values (`_FillValue`, `missing_value`), or numbers
divided by `scale_factor` after `add_offset` is taken away, and says so in an array's attributes. `tsl rechunk` decodes
them as `xarray.open_zarr` does and writes plain numbers.

Source: CF conventions 1.11, sections 2.5.1 (missing data) and 8.1 (packed data).
"""

import base64
import contextlib
import dataclasses
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr

from .errors import StoreError, Violation

_SENTINELS, _LINEAR = ("_FillValue", "missing_value"), ("scale_factor", "add_offset")


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How numbers are stored.

    Args:
        sentinels: stored numbers that mean "not measured".
        scale_factor: what stored numbers are multiplied by.
        add_offset: what is then added.
    """

    sentinels: tuple[float, ...] = ()
    scale_factor: float = 1.0
    add_offset: float = 0.0

    @property
    def is_scaled(self) -> bool:
        """Whether stored numbers are multiplied or shifted."""
        return (self.scale_factor, self.add_offset) != (1.0, 0.0)

    @property
    def is_plain(self) -> bool:
        """Whether stored numbers are the numbers themselves."""
        return self == Encoding()

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """The numbers that are meant, in the stored dtype where nothing is scaled, else in float64."""
        # integers that are not scaled are codes, of which one may mean "none"
        sentinels = self.sentinels if stored.dtype.kind == "f" or self.is_scaled else ()
        with np.errstate(over="ignore"):
            missing = np.isin(stored, np.asarray(sentinels).astype(stored.dtype)) if sentinels else None
        values = stored
        if self.is_scaled:
            values = stored.astype(np.float64) * self.scale_factor + self.add_offset
        return values if missing is None or not missing.any() else np.where(missing, values.dtype.type(np.nan), values)


def encoding_of(array: zarr.Array) -> Encoding:
    """What an array's attributes say of how its numbers are stored.

    Raises:
        StoreError: what they say is no number.
    """
    said: dict[str, Any] = array.attrs.asdict()
    try:
        sentinels = [number for name in _SENTINELS if name in said for number in _numbers(said[name])]
        scale, offset = (float(said.get(name, plain)) for name, plain in zip(_LINEAR, (1.0, 0.0), strict=True))
    except (TypeError, ValueError) as error:
        found = {name: said[name] for name in (*_SENTINELS, *_LINEAR) if name in said}
        raise StoreError(f"{array.name}: attributes {found} are no numbers ({error}); repair or remove them") from error
    return Encoding(tuple(dict.fromkeys(number for number in sentinels if not np.isnan(number))), scale, offset)


def _numbers(said: Any) -> list[float]:
    """Numbers of an attribute; xarray writes those of floats as the base64 of their eight bytes."""
    if isinstance(said, list | tuple):
        return [number for one in said for number in _numbers(one)]
    if isinstance(said, str):
        with contextlib.suppress(ValueError):
            return [float(said)]
        data = base64.standard_b64decode(said)
        if len(data) != 8:
            raise ValueError(f"{said!r} is no number")
        return [struct.unpack("<d", data)[0]]
    return [float(said)]


def plain_attributes(array: zarr.Array) -> dict[str, Any]:
    """An array's attributes without those that say how its numbers are stored."""
    return {name: value for name, value in array.attrs.asdict().items() if name not in (*_SENTINELS, *_LINEAR)}


def check_encoding(name: str, array: zarr.Array) -> Iterator[Violation]:
    """The attributes by which an array's stored numbers are not the numbers that are meant."""
    said = array.attrs.asdict()
    try:
        encoding = encoding_of(array)
    except StoreError as error:
        yield Violation(name, str(error), "plain numbers", "Repair or remove these attributes.")
        return
    if encoding.is_plain or (array.dtype.kind != "f" and not encoding.is_scaled):
        return  # integers with a sentinel hold codes, of which one may mean "none"
    found = ", ".join(f"{key}={said[key]!r}" for key in (*_SENTINELS, *_LINEAR) if key in said)
    meant = [f"{number:g} stands for NaN" for number in encoding.sentinels]
    if encoding.is_scaled:
        meant.append(f"the values are {encoding.scale_factor:g} times what is stored plus {encoding.add_offset:g}")
    cure = (
        "Write it anew with tsl rechunk, which decodes it as xarray does, or remove the attributes if they are wrong."
    )
    yield Violation(name, f"attributes {found}: {' and '.join(meant)}", "plain numbers, NaN where not measured", cure)
