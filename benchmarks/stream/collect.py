"""Speed of `tsl_jax.collect` against a plain evaluation loop, in tokens per second.

    python -m benchmarks collect [--width N] [--layers N] [--sequences N] [--checkpoints N] [--out FILE] [--quick]

A small transformer (RoPE left out: positions are learned) with random weights; its losses on random tokens are measured
at several checkpoints, once by `collect` into a store on disk, float16, with everything that it records, and once by
the loop that one would write by hand: a jitted function, batch after batch, losses to NumPy, one array in memory, which
is written at the end with ``numpy.save``. Both run the same mathematics, compiled once, in a first round that does not
count. The rounds alternate; the median ratio of tokens per second counts.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from .. import record


def main(argv: list[str] | None = None) -> dict:
    """Run the benchmark, print its table, write its JSON."""
    options = _arguments(argv)
    params, batches, loss_fn = _problem(options)
    checkpoints = [(step, params(step)) for step in range(1, options.checkpoints + 1)]
    tokens = options.sequences * options.context * options.checkpoints
    with tempfile.TemporaryDirectory() as folder:
        first = {name: run(checkpoints[:1], batches, loss_fn, Path(folder) / name) for name, run in RUNS.items()}
        rounds = [
            {
                name: run(checkpoints, batches, loss_fn, Path(folder) / f"{name}{at}")
                for name, run in (RUNS.items() if at % 2 else reversed(RUNS.items()))
            }
            for at in range(options.rounds)
        ]
    found = {
        name: {
            "seconds": [each[name] for each in rounds],
            "tokens_per_second": tokens / statistics.median(each[name] for each in rounds),
            "first_seconds": first[name],
        }
        for name in RUNS
    }
    ratio = statistics.median(each["plain loop"] / each["collect"] for each in rounds)
    result = {
        "benchmark": "collect",
        "environment": record.environment(),
        "problem": {name: getattr(options, name) for name in _SIZES},
        "tokens": tokens,
        "runs": found,
        "ratio": ratio,
    }
    header = ["", "tokens/s", "seconds", "with compiling, one checkpoint"]
    rows = [
        [
            name,
            f"{run['tokens_per_second']:,.0f}",
            f"{statistics.median(run['seconds']):.2f}",
            f"{run['first_seconds']:.2f}",
        ]
        for name, run in found.items()
    ]
    print(record.table(header, rows))
    print(f"\ncollect runs at {ratio:.3f} of the plain loop; {tokens:,} losses.")
    return record.finish(result, options.out)


def _collect(checkpoints, batches, loss_fn, path: Path) -> float:
    from tsl_jax.collection import collect

    begun = time.perf_counter()
    collect(loss_fn, checkpoints, batches, path)
    return time.perf_counter() - begun


def _plain_loop(checkpoints, batches, loss_fn, path: Path) -> float:
    import jax

    begun = time.perf_counter()
    compiled = jax.jit(loss_fn)
    losses = [
        np.concatenate([np.asarray(compiled(params, batch), np.float16).ravel() for batch in batches])
        for _, params in checkpoints
    ]
    np.save(path, np.stack(losses, axis=1))
    return time.perf_counter() - begun


RUNS = {"plain loop": _plain_loop, "collect": _collect}
_SIZES = ("width", "layers", "heads", "context", "vocabulary", "sequences", "batch", "checkpoints")


def _problem(options: argparse.Namespace):
    """Parameters by step, batches, and the loss function of a small transformer."""
    import jax
    import jax.numpy as jnp

    width, layers, heads, context, vocabulary = (getattr(options, name) for name in _SIZES[:5])
    rng = np.random.default_rng(0)

    def normal(*shape):
        return (rng.standard_normal(shape) / np.sqrt(shape[-2])).astype(np.float32)

    base = {"embedding": normal(vocabulary, width), "position": normal(context, width)}
    base |= {"head": normal(width, vocabulary)}
    base |= {"attention": normal(layers, 4, width, width), "up": normal(layers, width, 4 * width)}
    base |= {"down": normal(layers, 4 * width, width)}
    text = rng.integers(0, vocabulary, (options.sequences, context + 1)).astype(np.int32)
    batches = [
        {"before": text[start : start + options.batch, :-1], "token_id": text[start : start + options.batch, 1:]}
        for start in range(0, options.sequences, options.batch)
    ]

    def rms(x):
        return x * jax.lax.rsqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6)

    def layer(x, weights):
        attention, up, down = weights
        q, k, v = (jnp.reshape(rms(x) @ attention[i], (*x.shape[:2], heads, -1)) for i in range(3))
        mixed = jax.nn.dot_product_attention(q, k, v, is_causal=True)
        x = x + mixed.reshape(x.shape) @ attention[3]
        return x + jax.nn.gelu(rms(x) @ up) @ down, None

    def loss_fn(params, batch):
        x = params["embedding"][batch["before"]] + params["position"]
        x, _ = jax.lax.scan(layer, x, (params["attention"], params["up"], params["down"]))
        logs = jax.nn.log_softmax(rms(x) @ params["head"])
        return -jnp.take_along_axis(logs, batch["token_id"][..., None], -1)[..., 0]

    def params(step: int):
        return {name: jnp.asarray(values * (1 + step / 100)) for name, values in base.items()}

    return params, batches, loss_fn


def _arguments(argv) -> argparse.Namespace:
    parser = record.arguments("collect", __doc__, quick="a few seconds: a tiny model, two rounds")
    defaults = {"width": 256, "layers": 4, "heads": 4, "context": 256, "vocabulary": 4096, "sequences": 128}
    for name, value in (defaults | {"batch": 16, "checkpoints": 4, "rounds": 5}).items():
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args(argv)
    if options.quick:
        options.width, options.layers, options.sequences, options.vocabulary, options.rounds = 32, 1, 32, 256, 2
    return options
