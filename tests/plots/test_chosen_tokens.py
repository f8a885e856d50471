"""Tokens that are asked for, and fits in memory: the same numbers as from stores, clear refusals."""

import numpy as np
import pytest
from test_drawing import texts_overlap

import tsl_jax as tsl
from tsl_jax.plots import (
    draw_tokens,
    learning_times_data,
    mean_loss_data,
    plot_tokens,
    save,
    tokens_data,
)
from tsl_jax.store import StoreError

USED = slice(1, None)  # the checkpoint at 0 is left out


@pytest.fixture(scope="module")
def memory(stores):
    """The fits of the stores in memory, their axis, their losses."""
    return stores.fits[:], stores.fits.axis()[USED], stores.losses.read()[:, USED].astype(np.float32)


def test_tokens_in_the_order_in_which_they_are_asked_for(stores):
    data = tokens_data(stores.losses, stores.fits, tokens=[7, 0, 229, 7, 100, 101])
    assert [[panel.token for panel in row] for row in data.panels] == [[7, 0, 229, 7, 100], [101]]
    assert data.row_labels == ("", "")
    for panel in data.panels[0]:
        np.testing.assert_array_equal(panel.losses, stores.losses.read()[panel.token, USED])
    chosen = tokens_data(stores.losses, stores.fits)
    token = chosen.panels[0][0].token
    np.testing.assert_array_equal(
        tokens_data(stores.losses, stores.fits, tokens=[token]).panels[0][0].fitted, chosen.panels[0][0].fitted
    )


@pytest.mark.parametrize("tokens", [[3], [3, 1], list(range(20, 28)), None])
def test_they_are_drawn_without_overlaps(stores, tmp_path, tokens):
    figure = stores.fits.plot(stores.losses, tokens=tokens)
    save(figure, tmp_path / "picture.png")
    assert texts_overlap(figure) == ([], [])


def test_curves_without_losses(stores):
    figure = stores.fits.plot(tokens=[9])
    assert np.isnan(figure.axes[0].get_lines()[0].get_ydata()).all()
    assert not any("dots" in text.get_text() for text in figure.texts)
    assert figure.axes[0].get_ylim()[1] >= np.nanmax(figure.axes[0].get_lines()[1].get_ydata())


def test_fits_in_memory_give_the_numbers_of_the_store(stores, memory):
    fit, time, losses = memory
    here, there = (
        tokens_data(losses, fit, time=time, tokens=[40, 80]),
        tokens_data(stores.losses, stores.fits, tokens=[40, 80]),
    )
    for mine, stored in zip(here.panels[0], there.panels[0], strict=True):
        np.testing.assert_array_equal(mine.losses, stored.losses)
        np.testing.assert_allclose(mine.fitted, stored.fitted, rtol=1e-6)
        np.testing.assert_array_equal([mine.event, mine.r2], [stored.event, stored.r2])
        assert mine.category == stored.category
    one, other = mean_loss_data(losses, fit, time=time), mean_loss_data(stores.losses, stores.fits)
    np.testing.assert_allclose(one.residual, other.residual, atol=1e-6)
    one, other = learning_times_data(fit, time=time), learning_times_data(stores.fits)
    assert one.groups[0].falling.tolist() == other.groups[0].falling.tolist()
    assert one.groups[0].categories == other.groups[0].categories


def test_a_few_curves_in_memory_are_all_drawn(memory):
    fit, time, losses = memory
    assert len(fit[10:14].plot(time, losses[10:14]).axes) == 4
    assert len(fit[10].plot(time, losses[10], axis="tokens_seen").axes) == 1
    assert len(plot_tokens(fit, losses, time=time, tokens=[5]).axes) == 1


def test_an_unlearned_token_has_the_r2_of_its_constant(stores):
    learned = int(np.flatnonzero(stores.planted.category == 1)[0])
    panel = tokens_data(stores.losses, stores.fits, tokens=[learned]).panels[0][0]
    assert (panel.constant, panel.r2) == (False, stores.planted.r2[learned])
    unlearned = int(np.flatnonzero(stores.planted.category == 0)[-1])
    panel = tokens_data(stores.losses, stores.fits, tokens=[unlearned]).panels[0][0]
    assert (panel.constant, panel.r2) == (True, 0)
    assert draw_tokens(tokens_data(stores.losses, stores.fits, tokens=[unlearned])).axes[0].get_title().endswith("R² 0")


def test_refusals(stores, memory, tmp_path, write):
    fit, time, losses = memory
    with pytest.raises(ValueError, match=r"tokens: got 230, expected numbers from 0 to 229"):
        tokens_data(stores.losses, stores.fits, tokens=[230])
    with pytest.raises(ValueError, match="tokens: got 0 tokens"):
        tokens_data(stores.losses, stores.fits, tokens=[])
    for tokens in (1, "a", [1.0]):
        with pytest.raises(TypeError, match=r"tokens: got .*expected rows of the store, whole numbers"):
            tokens_data(stores.losses, stores.fits, tokens=tokens)
    with pytest.raises(ValueError, match="are time and losses swapped"):
        fit.plot(losses, time)
    with pytest.raises(ValueError, match=r"losses: got shape \(3, 8\), expected 230 curves of 8 checkpoints"):
        fit.plot(time, losses[:3])
    with pytest.raises(TypeError, match="time: got None"):
        tokens_data(losses, fit)
    some = write(tmp_path)
    part = some.fits[:100]
    with pytest.raises(ValueError, match="expected 100 curves"):
        part.plot(time, losses)


@pytest.mark.parametrize("value", [3.0, np.nan, np.inf])
def test_tokens_of_none_of_the_kinds_are_drawn_in_their_order(memory, value):
    time = memory[1]
    losses = np.full((12, len(time)), value, np.float32)
    fit = tsl.fit(tsl.Sigmoid(), time, losses)
    data = tokens_data(losses, fit, time=time)
    assert [[panel.token for panel in row] for row in data.panels] == [[0, 1, 2, 3, 4]]
    assert len(draw_tokens(data).axes) == 5
    with pytest.raises(ValueError, match="has no tokens, expected at least one"):
        tokens_data(None, fit[:0], time=time)


def test_what_is_not_known_of_a_token_is_not_in_its_title(stores, tmp_path):
    losses = stores.losses.read(slice(0, 2)).astype(np.float32)
    known = np.array([np.nan, 1])
    tokens = {"domain": known, "position": known, "token_id": known}
    steps = {"step": stores.losses.axis()}
    source = tsl.create_losses(tmp_path / "a.zarr", losses, checkpoints=steps, tokens=tokens)
    tsl.fit_store(tmp_path / "a.zarr", tmp_path / "b.zarr", tsl.Sigmoid(), noise=None)
    (panels,) = tokens_data(source, tsl.open_fits(tmp_path / "b.zarr")).panels
    assert [panel.labels for panel in panels] == [{}, {"domain": 1, "position": 1, "token_id": 1}]


def test_losses_of_other_fits_are_refused_before_anything_is_drawn(stores, tmp_path):
    from tsl_jax.store import create_losses

    other = create_losses(tmp_path / "a.zarr", np.ones((3, 9), "float32"), checkpoints={"step": np.arange(9)})
    with pytest.raises(StoreError, match=r"has shape \(3, 9\), the fits .* were made from \(230, 9\)"):
        stores.fits.plot(other)
