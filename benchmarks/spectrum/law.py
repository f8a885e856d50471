"""What the learning-time spectrum says of the losses of a real model, on either scale and with either kind of noise.

    python -m benchmarks spectrum_law LOSSES [--replicates N] [--out FILE] [--quick]

Each fits all tokens and compares: the mean of the fits with the mean loss, the sum of the tokens' own pulses (implied)
and `p * g` with the measured derivative; and splits what `p * g` misses by cause. Bands by resampling sequences.
"""

import tempfile
from pathlib import Path
from typing import Literal

from .. import record

Scale = Literal["log", "linear"]
Noise = Literal["independent", "correlated"]

#: Columns of the table: scale of the sigmoids, and what is taken for their noise.
FITS: tuple[tuple[Scale, Noise], ...] = (("log", "independent"), ("linear", "independent"), ("log", "correlated"))
_SCORES = {
    "mean fit of mean loss": "mean of the fits against the mean loss, R²",
    "implied of observed": "implied derivative (all tokens' own pulses) against the observed one, R²",
    "convolved of observed": "`p * g` against the observed derivative, R²",
    "convolved of implied": "`p * g` against the implied derivative, R²",
}
_CAUSES = {
    "sigmoid": "missing because tokens are no sigmoids",
    "shared pulse": "missing because the pulse is not shared",
    "binning": "missing because of the bins",
    "total": "missing in all",
}


def main(argv: list[str] | None = None) -> dict:
    """Fit and compare, print the table, write its JSON."""
    parser = record.arguments("spectrum_law", __doc__, quick="the log scale and few replicates")
    parser.add_argument("losses", help="loss store with sequences")
    parser.add_argument("--replicates", type=int, default=200, help="of the bootstrap")
    options = parser.parse_args(argv)
    fits = FITS[:1] if options.quick else FITS
    replicates = 20 if options.quick else options.replicates
    found = [_compared(options.losses, scale, noise, replicates) for scale, noise in fits]
    result = {"benchmark": "spectrum_law", "environment": record.environment(), "fits": found}
    print(table(result))
    return record.finish(result, options.out)


def _compared(losses: str, scale: Scale, noise: Noise, replicates: int) -> dict:
    import tsl_jax as tsl
    from tsl_jax.jobs import AnalysisOptions, analyse, read_spectrum

    with tempfile.TemporaryDirectory() as folder:
        fits = Path(folder) / "fits.zarr"
        summary = tsl.fit_store(losses, fits, tsl.Sigmoid(scale=scale), options=tsl.FitOptions(noise=noise))
        read = read_spectrum(fits, losses)
        curves = analyse(read, AnalysisOptions(replicates=replicates, level=0.9)).curves
    value, low, high = (bands.comparison for bands in (curves.value, curves.low, curves.high))
    outside = sum(read.spectrum.tokens[kind] for kind in ("EARLY", "LATE"))
    return {
        "scale": scale,
        "noise": noise,
        "tokens": summary.tokens,
        "outside": outside / summary.tokens,
        "r2": {name: [float(part.scores[name].r2) for part in (value, low, high)] for name in _SCORES},
        "missing": {cause: float(value.split[cause]) for cause in _CAUSES},
    }


def table(result: dict) -> str:
    """A column for each fit, a row for each number."""
    fits = result["fits"]
    header = ["", *(f"{fit['scale']} scale, {fit['noise']} noise" for fit in fits)]
    rows = [[words, *(_band(*fit["r2"][name]) for fit in fits)] for name, words in _SCORES.items()]
    rows += [[words, *(f"{fit['missing'][cause]:.1%}" for fit in fits)] for cause, words in _CAUSES.items()]
    rows.append(["tokens whose event lies outside the window", *(f"{fit['outside']:.1%}" for fit in fits)])
    return record.table(header, rows)


def _band(value: float, low: float, high: float) -> str:
    digits = 4 if value > 0.98 else 3
    return f"{value:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"
