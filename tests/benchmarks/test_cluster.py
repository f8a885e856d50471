"""What is said of clusters: simulated jobs take what arithmetic says, and longer where workers are taken away."""

import dataclasses
import re

import pytest

from benchmarks.cluster import costs, distributed, resuming
from benchmarks.cluster.simulation import Plant, simulate

PLANT = Plant("ten", 10, 1000.0, 1000, 1e9, 1e12, start_seconds=0.0, price=2.0)
ASKED = {"token_bytes": 100.0, "task_seconds": 0.0}


def test_workers_that_nothing_disturbs_take_what_arithmetic_says():
    found = simulate(1_000_000, PLANT, **ASKED)
    assert found.hours == pytest.approx(1_000_000 / 1e4 / 3600, rel=0.02)
    assert found.paid == pytest.approx(found.hours * 10 * 2.0)
    assert found.lost == 0


def test_storage_that_is_too_slow_sets_the_rate():
    slow = dataclasses.replace(PLANT, total_bandwidth=5e5)  # 5,000 tokens a second for all
    alone = dataclasses.replace(PLANT, worker_bandwidth=5e4)  # 500 for each
    for plant in (slow, alone):  # the first block of each task is read before any of it is fitted
        found = simulate(1_000_000, plant, **ASKED)
        assert 1 <= found.hours / (200 / 3600) <= 1 + 2 * found.tasks / 1000


@pytest.mark.parametrize("seed", range(5))
def test_workers_that_are_taken_away_cost_time_and_the_job_ends(seed):
    taken = dataclasses.replace(PLANT, lifetime_hours=50 / 3600, back_seconds=20.0)
    safe, found = (simulate(1_000_000, plant, **ASKED, seed=seed) for plant in (PLANT, taken))
    assert found.lost > 5
    assert found.repeated > 0
    assert found.hours > safe.hours
    # Of a worker's 50 s it is away for 20, and loses half a second of a block.
    assert found.hours == pytest.approx(safe.hours * 70 / 50, rel=0.35)
    assert found.paid < found.hours * 10 * 2.0


def test_a_task_that_costs_more_takes_longer():
    dear = ASKED | {"task_seconds": 5.0}
    assert simulate(1_000_000, PLANT, **dear).hours > 1.2 * simulate(1_000_000, PLANT, **ASKED).hours


def measured():
    def run(seconds, cpu):
        return {
            "tokens": 1000,
            "wall_seconds": seconds + 1,
            "compile_seconds": 1.0,
            "driver_cpu_seconds": 1.0,
            "workers_cpu_seconds": cpu,
            "load": 2.0,
        }

    rounds = [{"alone": run(10, 0.0), "workers": run(seconds, 1.0)} for seconds in (20, 10, 8)]
    return {
        "rates": [{"cores": 2, "rounds": rounds}],
        "tasks": [{"tasks": 100, "seconds": 0.5}],
        "memory": [{"tokens": 10, "blocks": 1, "driver_bytes": 2**20, "worker_bytes": [2**20, 2**21]}],
    }


def test_the_table_of_workers_has_medians_of_ratios():
    text = distributed.table(measured())
    assert "| 100%          | 50 to 125%    | 2.00 " in text
    for said in ("5.0 ms", "driver 1 MiB, a worker 2 MiB", "2.0 to 2.0"):
        assert said in text


def test_going_on_is_told_by_the_median_of_what_follows_the_first_round():
    rounds = [{"seconds": seconds, "cpu_seconds": seconds / 2, "load": 3.0} for seconds in (9.0, 2.0, 4.0, 8.0)]
    text = resuming.table({"blocks": 5000, "pending": 4, "rounds": rounds})
    assert "5,000 blocks, all but 4 finished: go on (load of the machine 3.0 to 3.0)" in text
    assert re.search(r"every record +\| 9\.0 s \| 4\.5 s", text)
    assert re.search(r"copy of the records +\| 4\.0 s \| 2\.0 s", text)


def test_costs_come_from_what_was_measured_and_from_assumptions():
    assert costs.core_rate(measured()) == 500.0
    options = costs._arguments(["--quick"])
    plants = costs.plants(500_000.0, options)
    found = costs._once(10**8, plants[1], options, 0)
    least = 15 + max(10**8 / 64 / 500_000, 10**8 * 192 / 2e9)  # starting, and fitting or reading
    assert least <= found.hours * 3600 <= 1.6 * least
    assert len({plant.name for plant in plants}) == len(plants)
