"""The numbers that would be drawn, against NumPy on all tokens at once."""

import dataclasses

import numpy as np
import pytest

from tsl_jax.fitting import Category, Status
from tsl_jax.jobs.learning_times import CountEvents
from tsl_jax.plots import learning_times_data, mean_loss_data, tokens_data
from tsl_jax.plots.style import number
from tsl_jax.plots.token_choice import ROWS, choose
from tsl_jax.store import StoreError


def test_mean_loss_and_mean_fit_over_the_same_pairs(stores):
    data = mean_loss_data(stores.losses, stores.fits)
    measured, fitted = stores.losses.read().astype(float)[:, 1:], stores.curves[:, 1:]
    both = np.isfinite(measured) & np.isfinite(fitted)
    loss, fit = (np.nanmean(np.where(both, each, np.nan), axis=0) for each in (measured, fitted))
    np.testing.assert_allclose(data.mean_loss, loss, rtol=1e-6)
    np.testing.assert_allclose(data.mean_fit, fit, rtol=1e-6)
    np.testing.assert_allclose(data.residual, fit - loss, atol=1e-6)
    np.testing.assert_allclose(data.r2, 1 - np.sum((fit - loss) ** 2) / np.sum((loss - loss.mean()) ** 2), rtol=1e-6)
    assert data.axis.tolist() == [1, 2, 4, 8, 16, 32, 64, 128]
    assert (data.tokens, data.left_out, data.axis_name, data.scale) == (225, 1, "step", "log")


def test_learning_times_are_histograms_by_domain(stores):
    data, truth = learning_times_data(stores.fits, bins=6), stores.planted
    np.testing.assert_allclose(data.edges, np.geomspace(1, 128, 7), rtol=1e-12)
    assert [group.name for group in data.groups] == ["all tokens", "verse", "prose", "code"]
    learned, falls = truth.category == Category.LEARNED, truth.loss_drop > 0
    for group, code in zip(data.groups, (None, 0, 1, 2), strict=True):
        rows = np.ones(len(learned), bool) if code is None else truth.domain == code
        for counts, sign in ((group.falling, falls), (group.rising, ~falls)):
            expected = np.histogram(truth.learning_time[rows & learned & sign], data.edges)[0]
            assert counts.tolist() == expected.tolist()
        assert group.tokens == rows.sum()
        expected = {category.name: np.sum(truth.category[rows] == category) for category in Category}
        assert group.categories == expected
        assert sum(group.falling + group.rising) == expected["LEARNED"]
        times = np.sort(truth.learning_time[rows & learned & falls])
        near = times[(len(times) - 1) // 2 : len(times) // 2 + 1] * [[0.98], [1.02]]
        assert near.min() <= group.median <= near.max()
        np.testing.assert_allclose(data.share(group.falling, group).sum() * rows.sum(), len(times))


def test_tokens_of_pending_blocks_are_not_counted(tmp_path, write):
    some = write(tmp_path, finished=False)
    data = learning_times_data(some.fits)
    assert data.groups[0].tokens == 200
    assert sum(data.groups[0].categories.values()) == 200
    assert mean_loss_data(some.losses, some.fits).tokens == 195


def test_an_event_on_the_edge_of_the_window_counts_in_the_bin_at_its_end(tmp_path, write, monkeypatch):
    some = write(tmp_path)
    read = CountEvents.read

    def at_the_ends(self, part):
        block = read(self, part)
        block.category[:] = Category.LEARNED
        block.event[:] = np.where(np.arange(len(block.event)) % 2, 128 * (1 + 1e-6), 1 - 1e-7)
        return block

    monkeypatch.setattr(CountEvents, "read", at_the_ends)
    everyone = learning_times_data(some.fits, bins=4).groups[0]
    assert (everyone.falling + everyone.rising).tolist() == [115, 0, 0, 115]


def test_the_grid_has_for_every_kind_and_domain_the_token_at_its_quantile(stores):
    data, truth = tokens_data(stores.losses, stores.fits), stores.planted
    assert data.row_labels == tuple(row.label for row in ROWS)
    for row, panels in zip(ROWS, data.panels, strict=True):
        assert len(panels) == 3
        for code, panel in enumerate(panels):
            members = (truth.category == row.category) & (truth.domain == code)
            if row.category == Category.LEARNED:
                members &= (truth.loss_drop < 0) == row.rising
            expected = np.quantile(truth.r2[members], row.quantile, method="nearest")
            assert truth.r2[panel.token] == pytest.approx(expected)
            # The line that is drawn: a constant's R² is 0 by definition.
            assert panel.constant == (row.category == Category.UNLEARNED)
            assert panel.r2 == (0 if panel.constant else truth.r2[panel.token])
            assert members[panel.token]
            assert panel.category == row.category.name
            assert panel.labels == {
                "domain": ["verse", "prose", "code"][code],
                "position": panel.token % 16,
                "token_id": panel.token * 7,
            }
            np.testing.assert_array_equal(panel.losses, stores.losses.read()[panel.token, 1:])
            np.testing.assert_allclose(
                np.interp(data.axis, data.curve_axis, panel.fitted), stores.curves[panel.token, 1:], atol=0.02
            )
            if row.category == Category.UNLEARNED:
                assert np.isnan(panel.event)
                assert np.ptp(panel.fitted) == 0
            else:
                assert panel.event == truth.learning_time[panel.token]
                held = truth.status[panel.token] == Status.AT_BOUND
                assert np.isnan(panel.event_stderr) == held


def test_without_domains_columns_are_quantiles_of_r2(tmp_path, write):
    some = write(tmp_path, domains=False)
    data = tokens_data(some.losses, some.fits)
    assert all(len(panels) == 5 for panels in data.panels)
    assert [panel.r2 for panel in data.panels[0]] == sorted(panel.r2 for panel in data.panels[0])
    assert data.panels[0][0].labels == {}
    assert len(set(data.row_labels)) == len(data.row_labels) == 5
    assert [group.name for group in learning_times_data(some.fits).groups] == ["all tokens"]


def test_a_token_is_drawn_once_in_a_row(tmp_path, write):
    some = write(tmp_path, domains=False)
    category = some.fits.read().category
    rare = next(c for c in (Category.EARLY, Category.LATE) if (category == c).any())
    few = dataclasses.replace(some.fits.read(), category=np.where(np.cumsum(category == rare) > 2, 0, category))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(some.fits), "read", lambda _, rows=slice(None): few[rows])
        panels = tokens_data(some.losses, some.fits).panels
    for row in panels:
        tokens = [panel.token for panel in row if panel is not None]
        assert len(set(tokens)) == len(tokens)
    of_rare = next(row for row in panels if row[0].category == rare.name)
    assert [panel is None for panel in of_rare].count(True) == 3


def test_choosing_is_by_rank_and_takes_the_first_of_equals():
    r2 = np.array([0.5, 0.1, 0.9, 0.5, np.nan])
    everyone = np.array([True, True, True, True, False])
    assert [choose(everyone, r2, quantile) for quantile in (0, 0.34, 0.66, 1)] == [1, 0, 3, 2]
    assert choose(np.zeros(5, bool), r2, 0.5) is None


def test_families_without_events_have_no_learning_times(stores):
    attributes = dict(stores.fits.attributes) | {"family": "power_law"}
    with pytest.raises(StoreError, match="'power_law' has no event; expected one such as 'sigmoid'"):
        learning_times_data(dataclasses.replace(stores.fits, attributes=attributes))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (73.2, "73"),
        (7.36, "7.4"),
        (1280, "1,280"),
        (0.043, "0.043"),
        (3.2e6, "3.2×10⁶"),
        (1e-5, "1×10⁻⁵"),
        (float("nan"), "none"),
    ],
)
def test_numbers_are_written_as_people_do(value, text):
    assert number(value) == text
