"""What a sample of the fits says of all tokens of a store: kept as blocks are written, else read back."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...fitting import degrees_of_freedom, has_parameters
from ...store import FitStore, StoreLike, locate, read_rows_with_gaps
from ...store.far_requests import at_once
from ...store.fits import open_fits_at
from ...store.samples import sampled_runs

#: The sample has at most so many tokens, in runs of so many.
_SAMPLED_TOKENS, _RUN_TOKENS = 2**18, 2**14
_NAMES = ("effective_points", "noise_correlation", "num_points", "status", "constant")


class KeptSample:
    """The sample's rows of blocks as they were written, of which none need be read back.

    Args:
        num_tokens: of the store.
    """

    def __init__(self, num_tokens: int) -> None:
        self._runs = _runs(num_tokens)
        self._pieces: dict[int, tuple[int, dict[str, np.ndarray]]] = {}

    def keep(self, start: int, values: Mapping[str, np.ndarray]) -> None:
        """Keep what the sample has of a block, whose first token is ``start``; may be called by several threads."""
        stop = start + len(values["status"])
        for run in self._runs:
            first, last = max(run.start, start), min(run.stop, stop)
            if first < last:
                rows = slice(first - start, last - start)
                self._pieces[first] = last, {name: np.array(values[name][rows]) for name in _NAMES}

    def rows(self, name: str, run: slice) -> np.ndarray | None:
        """An array's rows of one of the sample's runs; None where they are not all kept."""
        parts, first = [], run.start
        while first < run.stop:
            if first not in self._pieces:
                return None
            first, values = self._pieces[first]
            parts.append(values[name])
        return np.concatenate(parts) if parts else None


def describe_samples(fits: FitStore, kept: KeptSample | None = None) -> dict[str, Any]:
    """Of `describe_tokens`, what a sample of the fits says; JAX has a part in it.

    Args:
        fits: the store.
        kept: what is known of it by now.
    """
    kept = KeptSample(0) if kept is None else kept
    least = fits.options.get("min_plateau")
    bounded = least is not None and least >= 0
    names = [name for name in _NAMES if bounded or name != "constant"]
    values = dict(zip(names, at_once(fits.location, lambda name: _sampled(fits, name, kept), names), strict=True))
    points, mean = _finite(values["effective_points"]), _finite(values["constant"]) if bounded else None
    return {
        "median_effective_points": float(np.median(points)) if len(points) else None,
        "few_effective_points": _few_effective_points(fits, values),
        "negative_losses": mean is not None and bool(2 * np.count_nonzero(mean < 0) > len(mean)),
    }


def describe_samples_of(fits: StoreLike) -> dict[str, Any]:
    """`describe_samples` of a store that is not open, as in a worker; no record is read."""
    location = locate(fits)
    return describe_samples(open_fits_at(location, location.open_group(), blocks=(0, 0)))


def _few_effective_points(fits: FitStore, sampled: Mapping[str, np.ndarray]) -> int:
    """Tokens whose errors have one degree of freedom, the least; of large stores from those tokens alone."""
    correlation, points, status = (sampled[name] for name in ("noise_correlation", "num_points", "status"))
    fitted = np.asarray(has_parameters(status)) & np.isfinite(correlation)
    freedom = degrees_of_freedom(correlation[fitted].astype(np.float32), points[fitted], len(fits.parameters))
    few = np.count_nonzero(np.asarray(freedom) <= 1)
    return round(few * fits.num_tokens / max(len(points), 1))


def _sampled(fits: FitStore, name: str, kept: KeptSample) -> np.ndarray:
    """An array for the tokens of the sample."""

    def rows(run: slice) -> np.ndarray:
        known = kept.rows(name, run)
        return read_rows_with_gaps(fits.arrays[name], run.start, run.stop)[0] if known is None else known

    return np.concatenate(at_once(fits.location, rows, _runs(fits.num_tokens)))


def _runs(num_tokens: int) -> list[slice]:
    return sampled_runs(num_tokens, _RUN_TOKENS, _SAMPLED_TOKENS)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)].astype(np.float32)
