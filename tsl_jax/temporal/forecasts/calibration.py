"""How wide forecasts' bands are: learned from runs of sizes and a family that no prior was learned from."""

import numpy as np
from jaxtyping import Float

from .prior_numbers import ForecastPrior

#: What of the drawn spread is kept where no family is known. Laws, starts and sizes of drift that are possible each by
#: itself are averaged, so that what is drawn spreads further than forecasts err: on the runs of 25M and 100M parameters
#: of arXiv 2503.12811, forecast by what the other size shows, and on 11 Gemstones models (``python -m benchmarks
#: gemstones``).
KEPT = ForecastPrior.kept
#: What no law here knows: error (nat) that grows with the root of ``ln(step / last seen step)``.
MISFIT = 0.0025
#: How uncertain the fall ahead is, as a share of it, where a run has not slowed down yet: between a power law that ends
#: at 0 and a straight line over the logarithm of training lies about as much.
DOUBT = 0.15


def calibrated(
    paths: Float[np.ndarray, "paths rows"],
    reach: Float[np.ndarray, " rows"],
    random: np.random.Generator,
    kept: float = KEPT,
) -> Float[np.ndarray, "paths rows"]:
    """Paths whose quantiles hold as many losses as they say: ``median + kept · (path - median) + misfit · √ln(reach)``.

    Args:
        paths: drawn losses, nat.
        reach: step of each row over the last seen one.
        random: draws the misfit, one number a path.
        kept: what of the drawn spread is kept.
    """
    middle = np.median(paths, axis=0)
    off = random.standard_normal((len(paths), 1))
    return middle + kept * (paths - middle) + MISFIT * np.sqrt(np.log(np.maximum(reach, 1.0))) * off


def early_paths(
    paths: Float[np.ndarray, "paths rows"], last: float, random: np.random.Generator
) -> Float[np.ndarray, "paths rows"]:
    """Paths of a run that has not slowed down yet: all of their spread, and doubt about the fall from the last loss."""
    off = random.standard_normal((len(paths), 1))
    return paths + DOUBT * (last - np.median(paths, axis=0)) * off
