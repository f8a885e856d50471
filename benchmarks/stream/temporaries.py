"""What XLA's kernel needs beside a block's losses and results, by the number of devices; nothing is fitted.

    python -m benchmarks temporaries [--devices 1 4 16] [--checkpoints 64] [--out FILE] [--quick]

A store of a billion tokens is cut as `fit_store` cuts it for so many devices with its default memory, and the program
of one device's rows is compiled. XLA says what its buffers take, which it allocates while the program runs; each device
has its own, so that those of all count. On a CPU they are host memory, of which a job may take 2 GiB.
"""

import types
from typing import Any

import numpy as np

from .. import record
from .memory import LIMIT_BYTES


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON."""
    parser = record.arguments("temporaries", __doc__, quick="one device and few checkpoints")
    parser.add_argument("--devices", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--checkpoints", type=int, default=64)
    options = parser.parse_args(argv)
    if options.quick:
        options.devices, options.checkpoints = [1], 16
    found = [_measure(devices, options.checkpoints) for devices in options.devices]
    result = {"benchmark": "temporaries", "checkpoints": options.checkpoints, "found": found}
    result["environment"] = record.environment()
    print(table(result))
    return record.finish(result, options.out, f"; {options.checkpoints} checkpoints, float16")


def table(result: dict) -> str:
    """One row a number of devices."""
    rows = [
        [
            str(one["devices"]),
            f"{one['block_tokens']:,}",
            f"{one['rows']:,}",
            f"{one['temporary_bytes'] / 2**20:,.0f} MiB",
            f"{one['devices'] * one['temporary_bytes'] / 2**20:,.0f} MiB",
            "yes" if one["devices"] * one["temporary_bytes"] <= LIMIT_BYTES else "NO",
        ]
        for one in result["found"]
    ]
    return record.table(["devices", "tokens of a block", "of a device", "temporaries", "all", "within 2 GiB"], rows)


def _measure(devices: int, checkpoints: int) -> dict:
    import jax

    from tsl_jax import FitOptions, Sigmoid
    from tsl_jax.jobs.fit.fitter import BlockFitter
    from tsl_jax.jobs.fit.plan import fit_layout
    from tsl_jax.stream.plan import device_rows

    tokens, axis, dtype = 10**9, np.geomspace(1.0, 1000.0, checkpoints), np.dtype(np.float16)
    store: Any = types.SimpleNamespace(
        token_coordinates={},
        num_checkpoints=checkpoints,
        losses=types.SimpleNamespace(dtype=dtype),
        num_tokens=tokens,
        chunk_tokens=2**13,
        shard_tokens=2**18,
    )
    many = BlockFitter(Sigmoid(), axis, dtype, FitOptions(kernel="xla"), jax.local_devices()[:1] * devices)
    block = fit_layout(store, Sigmoid(), many).block_tokens
    rows = device_rows(block, tokens, many.row_multiple) // devices
    one = BlockFitter(Sigmoid(), axis, dtype, FitOptions(kernel="xla"), jax.local_devices()[:1])
    one.compile(rows, rows)
    said = one._compiled[0].memory_analysis()
    return {
        "devices": devices,
        "block_tokens": block,
        "rows": rows,
        "temporary_bytes": said.temp_size_in_bytes,
        "argument_bytes": said.argument_size_in_bytes,
        "output_bytes": said.output_size_in_bytes,
    }
