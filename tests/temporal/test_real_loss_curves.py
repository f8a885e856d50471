"""Real loss curves: laws fitted to three runs predict runs under schedules that they have not seen."""

import numpy as np

from tsl_jax.store import read_loss_curve
from tsl_jax.temporal import (
    LawFitOptions,
    MemoryLaw,
    MultiPowerLaw,
    StepPowerLaw,
    collapse,
    fit_law,
    join_histories,
    loss_curve,
    time_law,
)

FITTED = ("cosine_24000", "constant_24000", "wsdcon_9")
PREDICTED = ("constant_72000", "cosine_72000", "wsd_20000_24000", "wsdld_20000_24000", "wsdcon_3", "wsdcon_18")
HUBER = LawFitOptions(huber=1e-3, starts=1)


def read(folder, name):
    curve = loss_curve(*read_loss_curve(folder / f"{name}.csv"))
    return curve.history(warmup_steps=2160), np.asarray(curve.loss)


def scores(folder, law, strength):
    """Mean R² and mean absolute error over the runs that were not fitted."""
    histories, losses = zip(*(read(folder, name) for name in FITTED), strict=True)
    shrinkage = law.shrinkage(strength)
    fit = fit_law(law, join_histories(histories), np.concatenate(losses), shrinkage=shrinkage, options=HUBER)
    each = []
    for name in PREDICTED:
        seen, loss = read(folder, name)
        left = np.asarray(fit.predict(seen)) - loss
        each.append((1 - np.mean(left**2) / np.var(loss), np.abs(left).mean()))
    return np.mean(each, axis=0)


def test_laws_reach_what_is_published(loss_curves):
    """Mean R² and absolute error of the multi-power law in its paper, with strengths chosen among the fitted runs."""
    r2, error = scores(loss_curves / "25", MultiPowerLaw(), 0.1)
    assert round(r2, 4) >= 0.9988
    assert error <= 0.00376
    r2, error = scores(loss_curves / "100", MemoryLaw(), 0.01)
    assert r2 >= 0.9983 + 0.0005
    assert error <= 0.00435 * 0.8


def test_blind_laws_do_not(loss_curves):
    r2, error = scores(loss_curves / "100", StepPowerLaw(), 0.0)
    assert r2 < 0.98
    assert error > 0.015


def test_without_their_excess_the_runs_collapse_in_dynamic_time(loss_curves):
    """Dynamic time alone does not collapse annealed runs: at a low rate the excess loss is gone."""
    runs, law = [read(loss_curves / "25", name) for name in FITTED], MultiPowerLaw()
    seen, loss = join_histories([h for h, _ in runs]), np.concatenate([y for _, y in runs])
    fit = fit_law(law, seen, loss, shrinkage=law.shrinkage(0.1), options=HUBER)
    taus = [h.dynamic_time for h, _ in runs]
    excess = [float(fit.params["excess"]) * np.asarray(law.lagged_rate(fit.params, h)) for h, _ in runs]
    with_it = collapse(taus, [y for _, y in runs])
    without = collapse(taus, [y - part for (_, y), part in zip(runs, excess, strict=True)])
    assert float(without.spread) < 0.2 * float(with_it.spread)
    assert float(without.spread) < 0.006


def test_the_exponent_at_constant_rate(loss_curves):
    """Of the two sizes: between 0.43 and 0.52, which 400 rows tell from a third."""
    for size in ("25", "100"):
        seen, loss = read(loss_curves / size, "constant_72000")
        law = time_law(seen.dynamic_time, loss)
        assert 0.43 < float(law.exponent_lower) < float(law.exponent_upper) < 0.52
        assert float(law.third_p_value) < 1e-3
