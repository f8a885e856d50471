"""The picture of a chosen schedule: its data are the choice's, and no text covers another."""

import numpy as np
import pytest
from test_drawing import texts_overlap

from tsl_jax.plots import draw_schedule, save, schedule_data
from tsl_jax.temporal import AnnealingLaw, ScheduleChoice, history, schedule_from_rates

NUM_STEPS = 900


class KnownFit:
    """A law with known parameters, in place of its fit."""

    law = AnnealingLaw()

    def predict(self, rows):
        params = {"floor": 2.5, "coefficient": 0.5, "exponent": 0.4, "excess": 150.0, "memory": 60.0}
        return self.law.predict(params, rows)


@pytest.fixture(scope="module")
def choice():
    done = np.arange(NUM_STEPS) / NUM_STEPS
    falls = {"free": np.clip((done - 0.7) / 0.3, 0, 1), "cosine": done, "wsd": np.clip((done - 0.8) / 0.2, 0, 1)}
    rates = {name: 1e-3 * (1 - 0.9 * fall) for name, fall in falls.items()}
    both = ("cosine", "wsd")
    numbers = {key: dict.fromkeys(both, value) for key, value in (("gain", 0.02), ("lower", -0.001), ("upper", 0.04))}
    return ScheduleChoice(
        learning_rate=rates["free"],
        shape="free",
        params={},
        loss=2.5,
        tried={"free": (2.5, {})},
        baseline={name: rates[name] for name in both},
        baseline_loss=dict.fromkeys(both, 2.52),
        level=0.9,
        parameter_error=dict.fromkeys(both, 0.002),
        misfit=0.01,
        warnings=(),
        fits=(KnownFit(),),
        **numbers,
    )


def test_what_is_drawn_is_the_choice(choice):
    data = schedule_data(choice)
    assert data.names == ("free", "cosine", "wsd")
    assert (data.rate_step[0], data.rate_step[-1]) == (1, NUM_STEPS)
    np.testing.assert_array_equal(data.rate[0], choice.learning_rate[data.rate_step - 1])
    assert data.gain == {"cosine": (0.02, -0.001, 0.04), "wsd": (0.02, -0.001, 0.04)}
    rows = history(schedule_from_rates(choice.baseline["wsd"]), data.step)
    np.testing.assert_allclose(data.loss[2], KnownFit().predict(rows), rtol=1e-5)


def test_it_is_drawn_without_overlaps(choice, tmp_path):
    figure = draw_schedule(schedule_data(choice))
    save(figure, tmp_path / "schedule.png")
    assert texts_overlap(figure) == ([], [])
