"""Runs with a known law: schedules, and losses with noise in their logarithm."""

import numpy as np

from tsl_jax.temporal import history, join_histories, schedule_from_rates

COUNT = np.arange(2000)
WARM = np.minimum((COUNT + 1) / 100, 1.0)
#: Three schedules that tell a law's parameters apart: constant, cosine, a step down.
RATES = [
    1e-3 * WARM,
    1e-3 * WARM * (0.55 + 0.45 * np.cos(np.pi * COUNT / 2000)),
    1e-3 * WARM * np.where(COUNT < 1000, 1.0, 0.2),
]
STEPS = np.arange(100, 2001, 50)
#: Parameters of every law; excess is in units of rate (nat a rate, divided by 3^power where it grows with the base).
TRUTH = {
    "floor": 2.5,
    "coefficient": 0.8,
    "exponent": 0.4,
    "excess": 150.0,
    "memory": 80.0,
    "speed": 10.0,
    "slowness": 0.6,
    "rate_exponent": 0.5,
    "fast_memory": 15.0,
    "slow_memory": 250.0,
    "fast_fraction": 0.5,
}


def planted(law, noise=0.0, seed=0, number=None):
    """``history, losses, run, truth`` of three runs; losses (number, rows) if a number is given."""
    truth = {name: TRUTH[name] for name in law.names}
    if law.has_excess:
        truth["excess"] /= 3.0**law.noise_power
    seen = join_histories([history(schedule_from_rates(rates), STEPS) for rates in RATES])
    clean = np.asarray(law.predict(truth, seen), np.float64)
    shape = clean.shape if number is None else (number, *clean.shape)
    losses = clean * np.exp(noise * np.random.default_rng(seed).normal(size=shape))
    return seen, losses, np.repeat(np.arange(len(RATES)), len(STEPS)), truth
