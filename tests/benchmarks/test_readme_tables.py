"""Tables go from results into a copy of the README; README.md and the pages in docs/ show what the results say."""

import json
import re

import pytest

from benchmarks import readme, record
from benchmarks.fitting import rates as fitting
from benchmarks.fitting import scaling_plot
from benchmarks.fitting.suite import table as suite_table
from benchmarks.stream import end_to_end as stream
from benchmarks.stream import memory_plot
from tests.pages import pages

ENVIRONMENT = {
    "command": "python -m benchmarks scaling --quick --out somewhere.json",
    "commit": "abc1234-dirty",
    "platform": "cpu",
    "device": "A processor",
    "cores": 2,
    "versions": {"jax": "1.2.3"},
}


def rates(name, places):
    return [
        {name: place, "fits_per_second": 1000.0 * (at + 1), "solved": 0.5, "judged": 4, "compile_seconds": 1.0}
        for at, place in enumerate(places)
    ]


SCALING = {
    "benchmark": "scaling",
    "environment": ENVIRONMENT,
    "sweeps": {
        "curves": rates("curves", [1000, 10_000]),
        "checkpoints": rates("checkpoints", [16, 64]),
        "devices": [*rates("devices", [1, 2]), {"devices": 4, "lacking": "2 here"}],
    },
}


@pytest.fixture
def folder(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    record.write(results / "scaling_cpu.json", SCALING)
    record.write(results / "scaling_gpu.json", SCALING | {"environment": ENVIRONMENT | {"platform": "gpu"}})
    record.write(results / "scaling_other_cpu.json", {"benchmark": "another"})
    return tmp_path


TEXT = "before\n<!-- benchmarks: scaling -->\nold | table\n<!-- end -->\nbetween\n"


def test_only_what_stands_between_the_markers_is_replaced(folder):
    path = folder / "README.md"
    path.write_text(TEXT + "after | it\n")
    arguments = ["--readme", str(path), "--results", str(folder / "results"), "--docs", str(folder / "docs")]
    readme.main(arguments)
    text = path.read_text()
    assert re.sub(r"(-->\n).*\n(<!-- end)", r"\1old | table\n\2", text, flags=re.DOTALL) == TEXT + "after | it\n"
    assert text.count("| 10,000 | 2,000  | 50.00% of 4 | 1.0 s   |") == 2
    assert "*2 cores of an A processor; jax 1.2.3, commit abc1234:* `python -m benchmarks scaling --quick`" in text
    assert "*A processor; jax" in text
    assert (folder / "docs/scaling.png").stat().st_size > 1000
    readme.main(arguments)
    assert path.read_text() == text


@pytest.mark.parametrize(("name", "message"), [("weather", "expected one of fitting"), ("suite", "measure it first")])
def test_a_marker_without_a_table_or_a_result_is_an_error(folder, name, message):
    text = TEXT.replace("scaling", name)
    with pytest.raises(ValueError, match=message):
        readme.update(text, folder / "results", folder / "docs")


TABLES = [page for page in pages().values() if "<!-- benchmarks: " in page.text]


@pytest.mark.parametrize("page", TABLES, ids=lambda page: page.name)
def test_a_page_shows_what_the_results_say(page, tmp_path, monkeypatch):
    monkeypatch.setattr("tsl_jax.plots.save", lambda figure, path: None)  # drawn above; figures are not compared
    assert readme.update(page.text, record.RESULTS, tmp_path) == page.text, "run: python -m benchmarks readme"


def test_every_table_that_was_measured_is_on_a_page():
    shown = set(re.findall(r"<!-- benchmarks: (\w+) -->", "".join(page.text for page in TABLES)))
    assert shown == {*readme.TABLES, *readme.SUMMARIES}


def test_what_is_lacking_is_said_in_tables():
    ours = {"version": "1", "fits_per_second": 100.0, "solved": 1.0, "judged": 8, "compile_seconds": 2.0, "curves": 8}
    slow = ours | {"fits_per_second": 25.0, "solved": 0.5}
    methods = {"tsl_jax": ours, "scipy": slow, "gpufit": {"lacking": "no library"}}
    lines = fitting.table({"methods": methods}).splitlines()
    assert lines[0].split("|")[1:4] == [" method    ", " fits/s  ", " tsl_jax is faster by "]
    assert "4.0" in lines[3]
    assert "lacking | no library" in lines[4]
    found = suite_table([{"problem": {"name": "sigmoids, 64"}, "methods": methods}])
    assert "25 (1/4.0), 50.00% | lacking" in found


def test_the_stream_is_compared_with_its_slower_half():
    entry = {"layout": "a", "read_per_second": 200.0, "kernel_per_second": 100.0, "end_to_end_per_second": 95.0}
    entry |= {"fraction_of_slower": 0.95, "limited_by": "fit", "peak_memory_bytes": 2**20, "cpu_beyond_the_fit": 3e-7}
    found = stream.table({"layouts": [entry]})
    assert "95%" in found
    assert "0.30 µs" in found


def test_a_line_a_machine_and_what_is_lacking_is_left_out():
    data = scaling_plot.scaling_data([json.loads(json.dumps(SCALING))])
    assert data["devices"] == [("A processor, 2 cores", [1, 2], [1000.0, 2000.0])]
    figure = scaling_plot.draw_scaling([SCALING])
    assert [len(axes.lines) for axes in figure.axes] == [1, 1, 2]


def test_memory_has_a_line_a_store_however_many():
    stores = [
        {"tokens": 10**power, "baseline_bytes": 2**20, "resident": [[10, 2**21], [10**power, 3 * 2**20]]}
        for power in range(2, 8)
    ]
    [axes] = memory_plot.draw_memory([{"limit_bytes": 2**31, "stores": stores}]).axes
    *lines, limit = axes.lines
    assert [list(line.get_ydata()) for line in lines] == [[1.0, 2.0]] * len(stores)
    assert set(limit.get_ydata()) == {2048}
