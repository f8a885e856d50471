"""Laws chosen by runs and sizes that no fit has seen: the planted law wins, and what is hidden has its say."""

import dataclasses

import numpy as np
import pytest
from planted_runs import planted

from tsl_jax.temporal import (
    AnnealingLaw,
    LawFitOptions,
    SizeRuns,
    StepPowerLaw,
    TimePowerLaw,
    choose_laws,
    fit_law,
    fit_laws,
)

ONE_START = LawFitOptions(starts=1)


def size_of(law, fitted=None, seed=0):
    seen, losses, run, _ = planted(law, noise=1e-3, seed=seed)
    return SizeRuns(seen, losses, run, fitted)


def test_the_planted_law_is_chosen_and_fits():
    sizes = [size_of(AnnealingLaw(), (0, 1)), size_of(AnnealingLaw(), (0, 1), seed=1)]
    laws, strengths = (StepPowerLaw(), TimePowerLaw(), AnnealingLaw()), (0.003, 1.0)
    chosen = choose_laws(sizes, laws=laws, strengths=strengths, most=1, options=ONE_START)
    assert chosen.laws == (AnnealingLaw(),)
    assert chosen.error < 4e-3
    assert [entry[0] for entry in chosen.alone] == list(laws)
    assert chosen.error == pytest.approx(min(entry[2] for entry in chosen.alone))
    # Two of the same runs, by hand.
    strength, errors = chosen.strengths[0], []
    for runs in sizes:
        seen = runs.run < 2
        shrinkage = AnnealingLaw().shrinkage(strength)
        fit = fit_law(AnnealingLaw(), runs.history[seen], runs.loss[seen], shrinkage=shrinkage, options=ONE_START)
        errors.append(np.abs(np.asarray(fit.predict(runs.history[~seen])) - runs.loss[~seen]).mean())
    assert chosen.error == pytest.approx(np.mean(errors), rel=1e-2)
    average = chosen.fit(sizes[0].history, sizes[0].loss, options=ONE_START)
    assert np.abs(np.asarray(average.predict(sizes[0].history)) - sizes[0].loss).mean() < 4e-3


def test_laws_that_err_to_both_sides_are_averaged():
    runs = size_of(TimePowerLaw(), (0, 1))
    bent = dataclasses.replace(runs, loss=runs.loss * np.where(runs.run == 2, 1 - 2e-3, 1.0))
    laws = (TimePowerLaw(), StepPowerLaw())
    chosen = choose_laws([bent], laws=laws, strengths=(0.1,), options=ONE_START)
    assert chosen.error <= min(entry[2] for entry in chosen.alone) + 1e-9
    fits = [fit_law(law, runs.history, runs.loss, options=ONE_START) for law in chosen.laws]
    average = chosen.fit(runs.history, runs.loss, options=ONE_START).predict(runs.history)
    again = fit_laws(runs, [bent], laws=laws, options=ONE_START)
    assert [fit.law for fit in again.fits] == list(choose_laws([bent], laws=laws, options=ONE_START).laws)
    np.testing.assert_allclose(average, np.mean([fit.predict(runs.history) for fit in fits], axis=0), rtol=1e-5)


def test_what_cannot_be_judged_is_refused():
    runs = size_of(TimePowerLaw())
    with pytest.raises(ValueError, match="sizes: got none"):
        choose_laws([])
    with pytest.raises(ValueError, match="strengths: got none"):
        choose_laws([runs], strengths=())
    with pytest.raises(ValueError, match="most: got 0"):
        choose_laws([runs], most=0)
    with pytest.raises(ValueError, match="expected some and not all"):
        choose_laws([dataclasses.replace(runs, fitted=(0, 1, 2))], laws=[TimePowerLaw()])
