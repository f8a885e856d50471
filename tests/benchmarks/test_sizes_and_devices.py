"""The benchmark of sizes and devices measures and judges a point."""

from benchmarks.fitting import scaling


def test_a_point_is_measured_and_judged():
    found = scaling._measure(1, 512, 16, 1)
    assert found["judged"] == 512
    assert found["solved"] > 0.99
