"""The model of more cores finds planted parts again."""

import pytest

from benchmarks.stream.without_fits import parts


@pytest.mark.parametrize(("serial", "shared", "few", "many"), [(2e-8, 3e-7, 1, 2), (0.0, 5e-7, 2, 8)])
def test_planted_parts_are_found(serial, shared, few, many):
    runs = [{"cores": cores, "seconds_a_token": serial + shared / cores} for cores in (few, many)]
    assert parts(runs) == pytest.approx((serial, shared), abs=1e-15)


def test_more_than_cores_can_share_is_all_shared():
    """A luck of timing: two cores more than twice as fast."""
    assert parts([{"cores": 1, "seconds_a_token": 3e-7}, {"cores": 2, "seconds_a_token": 1e-7}]) == (0.0, 3e-7)
