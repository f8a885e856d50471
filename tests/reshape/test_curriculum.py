"""Weights that follow a run, on a learner whose sequences' learnability is planted, and what is said of bad input.

A token of kind g has the loss ``fall·σ(-SHARP·ln(n/centre))`` above 1 nat after n draws of its kind. Two windows follow
a uniform start; of the kinds one was learned before it, one is learned in each window, one never.
"""

import dataclasses

import numpy as np
import pytest
from scipy import integrate, stats

import tsl_jax as tsl
from benchmarks.reweighting.curves import speed_up_percent
from tsl_jax.reshape import Curriculum, Sampler, bucket_of, bucket_weights, next_window_probability

SEQUENCES, TOKENS, WINDOW, EVERY, SEEDS = 1600, 8, 200, 10, 4
SHARES = np.array([0.2, 0.4, 0.2, 0.2])  # learned before; never; in the first window; in the second
CENTRES, FALL, SHARP = np.array([8.0, 1e9, 50.0, 95.0]), 2.0, 4.0
#: Draws at the checkpoints before the first plan, and at all.
BEFORE = np.unique(np.geomspace(8, 200, 14).round().astype(int))
STEPS = np.arange(BEFORE[-1], BEFORE[-1] + 2 * WINDOW + 1, EVERY)
SEQUENCE = np.repeat(np.arange(SEQUENCES), TOKENS)
CHANGE = {"strength": 1.0, "ends": 2}
#: Kinds in the order in which they are worth a draw, in each window.
TRUTH = np.array([[0, 1, 3, 2], [0, 1, 0, 3]])


def losses_of(drawn, kind, centre):
    return 1 + FALL / (1 + (np.maximum(drawn[..., kind], 1e-9) / centre) ** SHARP)


def validation(drawn):
    return losses_of(drawn, np.arange(4), CENTRES) @ SHARES


def learner(seed):
    """Kind and sampler of a run's sequences, and how its tokens differ."""
    rng = np.random.default_rng(seed)
    kind = rng.permutation(np.repeat(np.arange(4), (SEQUENCES * SHARES).astype(int)))
    return rng, kind, CENTRES[kind[SEQUENCE]] * np.exp(rng.normal(0, 0.1, len(SEQUENCE)))


def trained(seed, weigh, teaches=None, curriculum=None):
    """(rows,) validation losses over both windows, weights by ``weigh(window, kind, rng)`` at the start of each.

    A sequence teaches its own kind, or ``teaches`` of it; the curriculum sees losses of the tokens of its own.
    """
    rng, kind, centre = learner(seed)
    sampler = Sampler(np.ones(SEQUENCES), int(STEPS[-1]), seed=seed)
    taught, draws, drawn, curve = kind if teaches is None else teaches(kind, rng), iter(sampler), np.zeros(4), []
    watched = {*BEFORE.tolist(), *range(BEFORE[-1], STEPS[-1], 50)} if curriculum else set()
    for step in range(STEPS[-1] + 1):
        if step in watched:
            curriculum.observe(step, losses_of(drawn, kind[SEQUENCE], centre) + rng.normal(0, 0.05, len(SEQUENCE)))
        if step in STEPS[[0, WINDOW // EVERY]]:
            sampler.reweight(weigh(int(step > STEPS[0]), kind, rng))
        if step in STEPS:
            curve.append(validation(drawn))
        if step < STEPS[-1]:
            drawn[taught[next(draws)]] += 1
    return np.array(curve)


def uniform(*_):
    return np.ones(SEQUENCES)


def saved_by_curriculum(seed, teaches=None):
    curriculum = Curriculum(SEQUENCE, last_step=STEPS[-1], **CHANGE)
    own = trained(seed, lambda *_: curriculum.plan(steps=WINDOW).weight, teaches, curriculum)
    return speed_up_percent(STEPS, trained(seed, uniform, teaches), own)


def in_theory(orders):
    """Steps that weights by these orders of the kinds save, %: of w sequences left, ``w·(1 - exp(-weight·t))`` go."""
    curves = []
    for change in (0.0, 1.0):
        drawn, curve = BEFORE[-1] * SHARES, []
        for order in orders:
            weight = np.asarray(bucket_weights(np.arange(10), strength=change, ends=2))
            left = (SEQUENCES * SHARES - drawn)[:, None] * buckets_of(order)
            gone = np.sum(left * -np.expm1(-np.linspace(0, 3, 3001)[:, None, None] * weight), axis=2)
            rows = np.arange(0, WINDOW + 1, EVERY)
            so_far = drawn + np.stack([np.interp(rows, gone.sum(axis=1), column) for column in gone.T], axis=1)
            curve, drawn = [*curve, *validation(so_far[:-1])], so_far[-1]
        curves.append(np.array([*curve, validation(drawn)]))
    return speed_up_percent(STEPS, *curves)


def buckets_of(order):
    """(kinds, buckets) fraction of each kind in each bucket, ties broken by lot."""
    kind = np.repeat(np.arange(4), (1000 * SHARES).astype(int))
    bucket = np.asarray(bucket_of(order[kind] + np.random.default_rng(0).uniform(0, 0.5, 1000)))
    return np.array([np.bincount(bucket[kind == k], minlength=10) / np.sum(kind == k) for k in range(4)])


def test_a_curriculum_saves_what_theory_says_and_more_than_weights_that_are_made_once():
    found = np.array([saved_by_curriculum(seed) for seed in range(SEEDS)])
    right, once = in_theory(TRUTH), in_theory(TRUTH[[0, 0]])
    assert right > once + 10
    error = np.std(found, ddof=1) / np.sqrt(SEEDS)
    assert found.mean() - 4 * error > once
    assert abs(found.mean() - right) < 4 * error + 1


def test_where_what_sequences_teach_has_nothing_to_do_with_their_scores_nothing_is_saved():
    found = np.array([saved_by_curriculum(seed, lambda kind, rng: rng.permutation(kind)) for seed in range(SEEDS)])
    assert abs(found.mean()) < 4 * np.std(found, ddof=1) / np.sqrt(SEEDS)


def observed(seed=0, *, until=BEFORE[-1], mixed=False):
    """A curriculum that saw a run up to a step; ``mixed``: tokens of all kinds in every sequence, by lot."""
    rng, kind, centre = learner(seed)
    of_token = kind[SEQUENCE]
    if mixed:
        order = rng.permutation(len(SEQUENCE))
        of_token, centre = of_token[order], centre[order]
    curriculum = Curriculum(SEQUENCE, last_step=STEPS[-1], **CHANGE)
    for step in BEFORE[until >= BEFORE]:
        losses = losses_of(step * SHARES, of_token, centre)
        curriculum.observe(step, losses + np.random.default_rng(step).normal(0, 0.05, len(SEQUENCE)))
    return curriculum


def test_sequences_that_do_not_differ_get_no_weights():
    plan = observed(mixed=True).plan(steps=WINDOW)
    assert "agree no better than chance" in plan.noise
    np.testing.assert_array_equal(plan.weight, 1)


def test_a_run_that_stops_and_goes_on_gets_the_same_weights_bit_for_bit():
    whole, stopped = observed(), observed(until=BEFORE[6])
    state = stopped.state_dict()
    assert {name: values.shape for name, values in state.items()} == {
        "sequence": SEQUENCE.shape,
        "steps": (7,),
        "losses": (len(SEQUENCE), 7),
    }
    again = Curriculum(SEQUENCE, last_step=STEPS[-1], **CHANGE)
    again.load_state_dict(state)
    for step, losses in zip(BEFORE[7:], whole.state_dict()["losses"].T[7:], strict=True):
        again.observe(step, losses)
    one, other = whole.plan(steps=WINDOW), again.plan(steps=WINDOW)
    assert not one.noise
    for name in ("score", "weight", "tokens"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_equal((one.exponent, one.reliability), (other.exponent, other.reliability))
    assert np.isnan(one.exponent)  # kinds are clumps, whose edge is no law


def test_the_tail_is_the_planted_one():
    """Learning times of a power law: its exponent, and not more events in the next window than there are."""
    rng, exponent = np.random.default_rng(0), 1.8
    centre = 8 * rng.uniform(size=len(SEQUENCE)) ** (-1 / (exponent - 1))
    curriculum = Curriculum(SEQUENCE, last_step=STEPS[-1], **CHANGE)
    for step in BEFORE:
        curriculum.observe(step, 1 + FALL / (1 + (step / centre) ** SHARP) + rng.normal(0, 0.05, len(SEQUENCE)))
    plan = curriculum.plan(factor=2)
    assert plan.exponent == pytest.approx(exponent, abs=0.1)
    there = np.sum((centre > BEFORE[-1]) & (centre < 2 * BEFORE[-1]))
    # Losses that are flat so far hardly count, of which some are learned there.
    assert 0.55 * there < plan.score @ plan.tokens < 1.1 * there


@pytest.fixture(scope="module")
def fits():
    """Fits of tokens before, at and after the last checkpoint, with noise."""
    step = BEFORE.astype(float)
    centre = np.geomspace(20, 2000, 64)[:, None]
    losses = 1 + 2 / (1 + (step / centre) ** 2) + np.random.default_rng(0).normal(0, 0.05, (64, len(step)))
    return tsl.fit(tsl.Sigmoid(), step, losses)


def test_the_share_until_a_windows_end_is_the_integral(fits):
    """Against quadrature of the curve's normal distribution times the tail's law, beyond the last checkpoint."""
    now, end, exponent = float(BEFORE[-1]), 1.7 * float(BEFORE[-1]), 1.6
    late = np.asarray(next_window_probability(fits, now, 1e30, by_test=False))
    found = next_window_probability(fits, now, end, exponent=exponent, by_test=False)
    u = np.log(np.asarray(fits.params["learning_time"], float) / now)
    s = np.asarray(fits.stderr["learning_time"], float) / np.asarray(fits.params["learning_time"], float)
    checked = 0
    for k in np.flatnonzero((s > 0.02) & (s < 3) & (late > 1e-3)):

        def density(x, k=k):
            return stats.norm.pdf(x, u[k], s[k]) * np.exp(-(exponent - 1) * x)

        parts = [integrate.quad(density, *ends, limit=200)[0] for ends in ((0, np.log(1.7)), (np.log(1.7), 40))]
        assert found[k] == pytest.approx(late[k] * parts[0] / sum(parts), rel=1e-4, abs=1e-6)
        checked += 1
    assert checked > 10


def test_of_a_token_without_an_error_the_tails_share_counts(fits):
    wide = {"learning_time": np.full(64, 1e9), "loss_drop": np.ones(64)}
    late = dataclasses.replace(fits, params=fits.params | wide, stderr={"learning_time": np.full(64, np.nan)})
    np.testing.assert_allclose(next_window_probability(late, 200, 400, exponent=3.0, by_test=False), 0.75)
    np.testing.assert_array_equal(next_window_probability(late, 200, 400, exponent=np.nan, by_test=False), 0)
    vague = dataclasses.replace(late, stderr={"learning_time": np.full(64, 1e15)})
    np.testing.assert_allclose(
        next_window_probability(vague, 200, 400, exponent=3.0, by_test=False) * 2, 0.75, rtol=1e-3
    )


def small(**more):
    return Curriculum(np.repeat(np.arange(12), 2), **more)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Curriculum(np.zeros(50, int)), "1 probe sequences for 10 buckets"),
        (lambda: Curriculum(np.zeros((5, 5), int)), "whole numbers"),
        (lambda: small(ends=6), "ends: got 6"),
        (lambda: small().observe(0, np.ones(24)), "increasing steps above 0"),
        (lambda: small().observe(np.nan, np.ones(24)), "increasing steps above 0"),
        (lambda: small().observe(1, np.ones(23)), "one a probe token"),
        (lambda: small().observe(1, np.full(24, np.nan)), "none of step 1 is finite"),
        (lambda: small(last_step=9).observe(10, np.ones(24)), "after the end of the run at 9"),
        (lambda: small().plan(factor=2), "no checkpoint was observed"),
        (lambda: small().load_state_dict({"steps": []}), "what Curriculum.state_dict returns"),
        (lambda: small().load_state_dict(observed(until=9).state_dict()), "not those of this curriculum"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_windows_are_told_and_end_with_the_run():
    curriculum = small(last_step=10)
    curriculum.observe(8, np.ones(24))
    for given in ({}, {"factor": 2, "steps": 3}, {"factor": 1}, {"steps": -1}):
        with pytest.raises(ValueError, match="expected"):
            curriculum.plan(**given)
    with pytest.raises(ValueError, match="8 after 8"):
        curriculum.observe(8, np.ones(24))
    plan = curriculum.plan(factor=2)
    assert plan.window == (8, 10)
    assert plan.noise == "1 checkpoints are too few for a fit, which takes 5"
    np.testing.assert_array_equal(plan.weight, 1)
    curriculum.observe(10, np.ones(24))
    with pytest.raises(ValueError, match="where the run ends"):
        curriculum.plan(steps=5)


def test_a_window_with_hardly_any_events_gets_no_weights():
    plan = observed().plan(factor=1 + 1e-6)
    assert "hardly any events" in plan.noise
    np.testing.assert_array_equal(plan.weight, 1)


def test_losses_that_are_not_measured_leave_out_their_tokens_alone():
    curriculum, state = Curriculum(SEQUENCE, **CHANGE), observed().state_dict()
    state["losses"][:TOKENS] = np.nan
    curriculum.load_state_dict(state)
    plan, whole = curriculum.plan(steps=WINDOW), observed().plan(steps=WINDOW)
    assert plan.tokens[0] == 0
    assert plan.score[0] == pytest.approx(np.average(plan.score, weights=plan.tokens), abs=0.02)
    np.testing.assert_allclose(plan.score[1:], whole.score[1:], atol=0.01)
