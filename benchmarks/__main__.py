"""``python -m benchmarks NAME [options]``: every benchmark by its name; without one, what there is."""

import importlib
import sys

BENCHMARKS = {
    "certified": "fitting.certified",
    "cluster_costs": "cluster.costs",
    "cold": "cold",
    "collect": "stream.collect",
    "coverage": "fitting.coverage",
    "distributed": "cluster.distributed",
    "fitting": "fitting.rates",
    "forecasts": "laws.forecasts",
    "foresight": "reweighting.foresight",
    "gemstones": "laws.gemstones",
    "gpu": "gpu.run",
    "gpu_program": "gpu.program",
    "laws": "laws.schedules",
    "mano": "laws.mano",
    "memory": "stream.memory",
    "object_store": "stream.object_store",
    "quality": "fitting.quality",
    "readme": "readme",
    "resuming": "cluster.resuming",
    "reweighting": "reweighting.training",
    "scaling": "fitting.scaling",
    "schedule_choice": "laws.schedule_choice",
    "seeds": "seeds.holding",
    "simulation": "laws.simulation",
    "spectrum": "spectrum.speed",
    "spectrum_forecast": "spectrum.forecast",
    "spectrum_law": "spectrum.law",
    "stream": "stream.end_to_end",
    "temporaries": "stream.temporaries",
    "without_fits": "stream.without_fits",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one benchmark; its module is imported only now, since some choose their cores before NumPy counts them."""
    name, *options = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name not in BENCHMARKS:
        print("usage: python -m benchmarks NAME [options]; NAME is one of:\n  " + "\n  ".join(BENCHMARKS))
        return 0 if name in ("", "list", "--help") else 2
    sys.argv = [name, *options]  # what `record.environment` keeps as the command
    importlib.import_module(f"benchmarks.{BENCHMARKS[name]}").main(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
