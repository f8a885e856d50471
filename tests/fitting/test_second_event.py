"""Second events: how often one event is taken for two, and how often two are seen, under noise of every kind."""

import functools

import numpy as np
import pytest

import tsl_jax as tsl
from tests.fitting.test_whitening import NOISE

pytestmark = pytest.mark.usefixtures("optimised")
CHECKPOINTS, CURVES, SD = 64, 1500, 0.2
STEP = np.geomspace(1, 1000, CHECKPOINTS)
KINDS = NOISE | {"sd / 4": lambda rng, shape: NOISE["sd x 4"](rng, shape)[:, ::-1]}
#: With a noise model, and of each curve alone: second drops of half a nat to two nat are seen in at least so many, %.
SEEN = {
    "independent": (75, 40),
    "t3": (75, 40),
    "AR 0.5": (40, 15),
    "AR 0.9": (2, 5),
    "sd x 4": (75, 40),
    "sd / 4": (75, 40),
}


def losses_of(second, kind):
    """Tokens whose loss falls by 1 to 6 nat, and, if ``second``, by 0.5 to 2 more elsewhere in the window."""
    rng = np.random.default_rng(3)
    u = np.linspace(0, 1, CHECKPOINTS)
    places = rng.uniform(0.1, 0.45, CURVES), rng.uniform(0.6, 0.9, CURVES)
    sharpness = [6 / np.exp(rng.uniform(np.log(0.08), np.log(0.4), CURVES)) for _ in places]
    drops = rng.uniform(1, 6, CURVES), rng.uniform(0.5, 2, CURVES) * second
    turned = rng.uniform(size=CURVES) < 0.5
    losses = 1 + SD * standardised(KINDS[kind](rng, (CURVES, CHECKPOINTS)))
    for place, sharp, drop in zip(places, sharpness, drops, strict=True):
        at = np.where(turned, 1 - place, place)[:, None]
        losses = losses + drop[:, None] / (1 + np.exp(np.clip(sharp[:, None] * (u - at), -80, 80)))
    return losses.astype(np.float32)


def standardised(noise):
    return noise / np.sqrt(np.mean(noise**2))


@functools.cache
def flagged(second, kind, shared):
    """Share of tokens of which a second event is likelier than none, in percent."""
    model = tsl.noise_model(tsl.Sigmoid(), STEP, losses_of(False, kind)) if shared else None
    found = tsl.fit(tsl.Sigmoid(), STEP, losses_of(second, kind), noise=model).second_event
    share = 100 * float(np.mean(np.asarray(found) > 0.5))
    print(f"{kind}, {'two events' if second else 'one'}, {'with a noise model' if shared else 'alone'}: {share:.1f}%")
    return share


@pytest.mark.parametrize("kind", KINDS)
def test_one_event_is_not_taken_for_two(kind):
    assert flagged(False, kind, True) <= 2
    assert flagged(False, kind, False) <= (8 if kind == "AR 0.9" else 5)


def test_few_checkpoints_of_persistent_noise_are_no_second_event():
    u, rng = np.linspace(0, 1, 16), np.random.default_rng(5)
    noise = 0.2 * NOISE["AR 0.9"](rng, (CURVES, 16))
    losses = 1 + rng.uniform(1, 6, CURVES)[:, None] / (1 + np.exp(20 * (u - rng.uniform(0.2, 0.8, CURVES)[:, None])))
    found = tsl.fit(tsl.Sigmoid(), np.geomspace(1, 1000, 16), (losses + noise).astype(np.float32)).second_event
    share = float(np.mean(np.asarray(found) > 0.5))
    print(f"16 checkpoints: {100 * share:.1f}%")
    assert share < 0.06


@pytest.mark.parametrize("checkpoints", [5, 8, 11])
def test_too_few_checkpoints_tell_of_no_second_event(checkpoints):
    """With fewer than three points a parameter whatever is left over would be one."""
    rng = np.random.default_rng(6)
    u, step = np.linspace(0, 1, checkpoints), np.geomspace(1, 1000, checkpoints)
    losses = 1 + 4 / (1 + np.exp(20 * (u - 0.5))) + 0.05 * rng.standard_normal((200, checkpoints))
    found = tsl.fit(tsl.Sigmoid(), step, losses.astype(np.float32))
    assert np.all(np.asarray(found.second_event) == 0)
    assert np.mean(np.asarray(found.category) == tsl.Category.LEARNED) > 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_second_events_are_seen(kind):
    for shared, least in zip((True, False), SEEN[kind], strict=True):
        assert flagged(True, kind, shared) >= least


def test_a_step_is_a_second_event_but_an_outlier_is_none():
    u, rng = np.linspace(0, 1, CHECKPOINTS), np.random.default_rng(4)
    losses = 1 + 4 / (1 + np.exp(20 * (u - 0.3))) + 0.1 * rng.standard_normal((64, CHECKPOINTS))
    step, outlier = losses + 1.0 * (u < 0.7), losses.copy()
    outlier[:, 45:47] += 3.0
    found = [tsl.fit(tsl.Sigmoid(), STEP, values.astype(np.float32)).second_event for values in (step, outlier)]
    assert np.mean(np.asarray(found[0]) > 0.5) > 0.9
    assert np.mean(np.asarray(found[1]) > 0.5) < 0.1


def test_losses_without_noise_have_one_event():
    u = np.linspace(0, 1, CHECKPOINTS)
    losses = 1 + 4 / (1 + np.exp(np.linspace(8, 40, 64)[:, None] * (u - 0.4)))
    assert np.all(np.asarray(tsl.fit(tsl.Sigmoid(), STEP, losses.astype(np.float32)).second_event) < 0.5)
