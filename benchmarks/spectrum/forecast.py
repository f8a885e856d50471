"""The forecast from the spectrum, judged by hiding the end of a run.

    python -m benchmarks spectrum_forecast LOSSES [--sequences-of N] [--out FILE]

Tokens are fitted on the first part of the checkpoints only (log scale), the spectrum's tail is continued, and the mean
loss at the hidden checkpoints is compared with what came. Its options are chosen without the hidden part: by rolling
origin inside the visible one. From the first 40% of training, which are visible in all three judgements, the last
20, 40 and 60% are hidden in turn; the options with the smallest root mean square error there are taken for all.
"""

import argparse
import itertools

import numpy as np

from .. import record

HIDDEN = (0.2, 0.4, 0.6)
#: Options tried, all of them.
CHOICES = [
    {"anchored": anchored, "seen": seen, "bandwidth": bandwidth}
    for anchored, seen, bandwidth in itertools.product((False, True), (0.7, 0.8, 0.9, 0.95), (0.1, 0.2, 0.3))
    if anchored or bandwidth == 0.2  # without an anchor there is no slope to smooth
]


def main(argv: list[str] | None = None) -> dict:
    """Choose the options inside the visible part, judge them on the hidden ones, print the table."""
    options = _arguments(argv)
    from tsl_jax.store import open_losses

    store = open_losses(options.losses)
    step = np.asarray(store.checkpoint_coordinates["step"], float)
    sequence = store.read_coordinate("sequence", slice(0, store.num_tokens))
    chosen = np.flatnonzero(sequence % options.sequences_of == 0)
    losses = store.read(slice(0, store.num_tokens))[chosen].astype(np.float32)
    run = Run(step, losses, sequence[chosen], options.law_from)
    visible = step[-1] * (1 - max(HIDDEN))
    early = [run.judged(visible * (1 - share), visible, CHOICES) for share in HIDDEN]
    overall = _rms([[row["error"] for row in rows] for rows in early])
    best = int(np.nanargmin(overall))
    # How far the same options missed inside the visible part, as a share of the fall, widens the bands.
    missed = np.array([rows[best]["missed"] for rows in early])
    judged = [
        run.judged(step[-1] * (1 - share), step[-1], [CHOICES[best]], missed)[0] | {"hidden": share} for share in HIDDEN
    ]
    result = {
        "benchmark": "spectrum_forecast",
        "environment": record.environment(),
        "tokens": len(losses),
        "choices": [choice | {"error": float(error)} for choice, error in zip(CHOICES, overall, strict=True)],
        "power_law_error": float(_rms([rows[best]["power_law_error"] for rows in early])),
        "missed": missed.tolist(),
        "chosen": CHOICES[best],
        "judged": judged,
    }
    print(_tables(result))
    return record.finish(result, options.out)


def _rms(errors: list) -> np.ndarray:
    return np.sqrt(np.mean(np.square(errors), 0))


class Run:
    """Losses of a run, and forecasts from parts of it.

    Args:
        step: (checkpoints,) training steps.
        losses: (tokens, checkpoints) nat.
        sequence: (tokens,) numbers of their sequences.
        law_from: step from which the power law of the mean loss, the simpler rival, is fitted.
    """

    def __init__(self, step: np.ndarray, losses: np.ndarray, sequence: np.ndarray, law_from: float) -> None:
        self.step, self.losses, self.sequence, self.law_from = step, losses, sequence, law_from

    def judged(self, last: float, until: float, choices: list[dict], missed: np.ndarray | None = None) -> list[dict]:
        """Forecasts from the checkpoints up to ``last`` for those up to ``until``, one for each of the choices.

        With bands, widened by what earlier forecasts ``missed``, where that is given.
        """
        import jax
        import jax.numpy as jnp

        import tsl_jax as tsl
        from tsl_jax.spectrum import Spectrum, bands, folded, forecast, resample_of, widened

        seen = self.step <= last * (1 + 1e-6)
        hidden = self.step[~seen & (self.step <= until * (1 + 1e-6))]
        time, losses, until_then = self.step[seen], self.losses[:, seen], jnp.asarray(hidden)
        fit = tsl.fit(tsl.Sigmoid(scale="log"), jnp.asarray(time), jnp.asarray(losses))
        spectrum = Spectrum.from_fits(fit, jnp.asarray(time), self.sequence)
        resamples = spectrum.grid.resamples
        group = np.asarray(resample_of(jnp.asarray(folded(self.sequence)), resamples))
        sums = np.zeros((resamples, len(time)))
        np.add.at(sums, group, losses.astype(np.float64))
        number = np.bincount(group, minlength=resamples)
        mean = self.losses.mean(0, dtype=np.float64)
        actual = mean[np.isin(self.step, hidden)]
        inside = time >= spectrum.grid.first * (1 - 1e-6)
        late = time >= self.law_from
        law = tsl.fit(tsl.PowerLaw(), jnp.asarray(time[late]), jnp.asarray(mean[seen][late][None], jnp.float32))
        plain = np.asarray(law.predict(until_then))[0]
        found = []
        for choice in choices:

            def ahead(moments, sums, choice=choice):
                loss = (sums["loss"] / sums["number"])[inside]
                return forecast(moments, time[inside], loss, hidden, **choice).loss  # pyright: ignore[reportArgumentType]

            parts = {"loss": jnp.asarray(sums, jnp.float32), "number": jnp.asarray(number, jnp.float32)}
            if missed is None:
                value = ahead(spectrum.moments(), jax.tree.map(lambda values: values.sum(0), parts))
                low = high = np.full(len(hidden), np.nan)
            else:
                band = widened(bands(ahead, spectrum, jax.random.key(0), sums=parts), mean[seen][-1], missed)
                value, low, high = band.value, band.low, band.high
            found.append(
                {
                    "from": float(time[-1]),
                    "until": float(hidden[-1]),
                    "loss_then": float(mean[seen][-1]),
                    "actual": float(actual[-1]),
                    "forecast": float(value[-1]),
                    "low": float(low[-1]),
                    "high": float(high[-1]),
                    "missed": float((value[-1] - actual[-1]) / (mean[seen][-1] - value[-1])),
                    "inside_band": float(np.mean((low <= actual) & (actual <= high))),
                    "error": float(np.sqrt(np.mean((np.asarray(value) - actual) ** 2))),
                    "power_law": float(plain[-1]),
                    "power_law_error": float(np.sqrt(np.mean((plain - actual) ** 2))),
                    "no_change_error": float(np.sqrt(np.mean((mean[seen][-1] - actual) ** 2))),
                }
            )
        return found


def _tables(result: dict) -> str:
    choices = [
        [str(row["anchored"]), f"{row['seen']:g}", f"{row['bandwidth']:g}", f"{row['error']:.4f}"]
        for row in result["choices"]
    ]
    rows = [
        [
            f"{row['hidden']:.0%}",
            f"{row['from']:,.0f}",
            f"{row['loss_then']:.3f}",
            f"{row['actual']:.3f}",
            f"{row['forecast']:.3f} ({row['low']:.3f} to {row['high']:.3f})",
            f"{row['inside_band']:.0%}",
            f"{row['error']:.4f}",
            f"{row['power_law_error']:.4f}",
            f"{row['no_change_error']:.4f}",
        ]
        for row in result["judged"]
    ]
    head = ["hidden", "last step seen", "loss then", "loss at the end", "forecast", "hidden checkpoints in the band"]
    head += ["rms error", "of a power law of the mean loss", "of no change"]
    return "\n".join(
        [
            "Rolling origin inside the first 40%:",
            record.table(["anchored", "seen", "bandwidth", "rms error"], choices),
            f"\nA power law of the mean loss there: {result['power_law_error']:.4f}\n"
            f"Chosen: {result['chosen']}, which missed by {', '.join(f'{one:.0%}' for one in result['missed'])} of the "
            f"fall there; {result['tokens']:,} tokens\n",
            record.table(head, rows),
        ]
    )


def _arguments(argv) -> argparse.Namespace:
    parser = record.arguments("spectrum_forecast", __doc__)
    parser.add_argument("losses", help="loss store with the token coordinate sequence")
    parser.add_argument("--sequences-of", type=int, default=1, help="take every N-th sequence")
    parser.add_argument(
        "--law-from", type=float, default=48, help="step from which the rival power law is fitted: the end of warm-up"
    )
    return parser.parse_args(argv)
