"""Tables and pictures of the README and of the pages in docs/, from what was measured.

    python -m benchmarks readme [--readme README.md] [--results benchmarks/results] [--docs docs]

What stands between ``<!-- benchmarks: NAME -->`` and ``<!-- end -->`` is replaced by what the newest
``results/NAME_*.json`` say, one table a device, each with its device and command; for the README's few numbers
(``headline``) by several results. Everything else stays as it is.
"""

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import cold, page_tables, record
from .cluster import costs, distributed, resuming
from .fitting import coverage, quality, scaling, scaling_plot, suite
from .fitting import rates as fitting
from .laws import mano, schedule_choice
from .reweighting import foresight
from .seeds import tables as seeds
from .spectrum import law as spectrum_law
from .stream import end_to_end as stream
from .stream import memory, memory_plot, object_store, temporaries, without_fits

_PLACE = re.compile(r"(<!-- benchmarks: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def update(text: str, results: Path, docs: Path) -> str:
    """A page with its tables made anew.

    Args:
        text: the page.
        results: folder of the JSON files.
        docs: where pictures go, and pages with pictures lie.

    Raises:
        ValueError: a marker names no table, or nothing was measured for it.
    """

    def section(match: re.Match[str]) -> str:
        name = match[2]
        if name in SUMMARIES:
            return f"{match[1]}{SUMMARIES[name](results)}\n{match[3]}"
        if name not in TABLES:
            raise ValueError(f"<!-- benchmarks: {name} -->: expected one of {', '.join([*TABLES, *SUMMARIES])}")
        found = [json.loads(path.read_text()) for path in sorted(results.glob(f"{name}_*.json"))]
        found = [result for result in found if result["benchmark"] == name]
        if not found:
            raise ValueError(f"<!-- benchmarks: {name} -->: no {name}_*.json in {results}; measure it first")
        parts = [f"{TABLES[name](result)}\n\n{_measured(result)}" for result in found]
        if name in PICTURES:
            parts.append(_picture(name, found, docs))
        return match[1] + "\n\n".join(parts) + "\n" + match[3]

    return _PLACE.sub(section, text)


def _measured(result: dict) -> str:
    """Under a table: the device, and the command."""
    environment = result["environment"]
    cores = environment["cores"]
    on = f"{cores} core{'s' * (cores != 1)} of an " if environment["platform"] == "cpu" else ""
    limits = result.get("roofline")
    can = ""
    if limits:
        copy, product = limits["copy_bytes_per_second"] / 1e9, limits["flops_per_second"] / 1e9
        can = f", which copies {copy:,.1f} GB/s and multiplies matrices at {product:,.0f} GFLOP/s"
    versions = f"jax {environment['versions']['jax']}, commit {environment['commit'].removesuffix('-dirty')}"
    command = re.sub(r" --out \S+", "", environment["command"])
    return f"*{on}{environment['device']}{can}; {versions}:* `{command}`"


def _picture(name: str, results: list[dict], docs: Path) -> str:
    from tsl_jax.plots import save

    draw, what = PICTURES[name]
    docs.mkdir(parents=True, exist_ok=True)
    save(draw(results), docs / f"{name}.png")
    return f"![{what}]({name}.png)"


def _spectrum(result: dict) -> str:
    rows = [
        [
            f"{run['tokens']:,}",
            f"{run['seconds']:.1f} s",
            f"{run['cpu_seconds']:.1f} s",
            f"{run['peak_bytes'] / 2**20:,.0f} MiB",
        ]
        for run in result["command"]
    ]
    return record.table(["fits", "wall", "CPU", "peak memory"], rows)


#: Names of markers and of results: from a result to its table.
TABLES: dict[str, Callable[[dict], str]] = {
    "fitting": fitting.table,
    "suite": lambda result: suite.table(result["problems"]),
    "quality": lambda result: quality.table(result["cells"]),
    "coverage": coverage.table,
    "cluster_costs": costs.table,
    "distributed": distributed.table,
    "object_store": object_store.table,
    "resuming": resuming.table,
    "scaling": scaling.tables,
    "seeds": seeds.page,
    "spectrum": _spectrum,
    "stream": stream.table,
    "temporaries": temporaries.table,
    "without_fits": without_fits.table,
    "memory": lambda result: memory.table(result["stores"]),
    "laws": page_tables.laws,
    "schedule_choice": schedule_choice.table,
    "forecasts": page_tables.forecast_runs,
    "gemstones": page_tables.gemstones,
    "spectrum_forecast": page_tables.spectrum_forecast,
    "spectrum_law": spectrum_law.table,
    "reweighting": page_tables.reweighting,
    "reweighting_code": page_tables.reweighting_again,
    "reweighting_headers": page_tables.reweighting_again,
    "reweighting_split": page_tables.reweighting_again,
    "foresight": foresight.table,
    "mano": mano.table,
    "cold": cold.table,
    "collect": page_tables.collect,
}
#: Names of markers for tables out of several results: from the folder of the results to the table.
SUMMARIES: dict[str, Callable[[Path], str]] = {"headline": page_tables.headline}
#: Names of results that have a picture, too: what draws it, and what it shows.
PICTURES: dict[str, tuple[Callable[[list[dict]], Any], str]] = {
    "scaling": (scaling_plot.draw_scaling, "Fits per second by curves, checkpoints and devices"),
    "memory": (memory_plot.draw_memory, "Resident memory while stores of several sizes are fitted"),
}


def main(argv: list[str] | None = None) -> None:
    """Rewrite the README, and the pages that have tables, in place."""
    parser = argparse.ArgumentParser("python -m benchmarks readme", description=(__doc__ or "").split("\n")[0])
    root = Path(__file__).parents[1]
    parser.add_argument("--readme", type=Path, default=root / "README.md", help="file to rewrite")
    parser.add_argument("--results", type=Path, default=record.RESULTS, help="folder of the JSON files")
    parser.add_argument("--docs", type=Path, default=root / "docs", help="folder of the pictures")
    options = parser.parse_args(argv)
    for path in (options.readme, *sorted(options.docs.rglob("*.md"))):
        if tables := len(_PLACE.findall(before := path.read_text())):
            path.write_text(update(before, options.results, options.docs))
            print(f"written: {path}, {tables} tables")
