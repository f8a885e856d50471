"""Part ``tune``: threads in a block, curves a thread and blocks a multiprocessor, by trying a short grid."""

import dataclasses
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp

from tsl_jax import FAMILIES, fit
from tsl_jax.fitting import native
from tsl_jax.fitting.native import building, loading
from tsl_jax.fitting.native.tuning import Launch, keep

from ..fitting.problems import sigmoids
from .kernels import native_kernel, options_of

#: From the default one number is changed at a time, then the best of each are put together.
GRID = {"threads": (64, 256), "searches": (1, 3, 4), "fits": (2, 6, 8), "measures": (2, 8), "wide": (1, 4)}
CURVES, CHECKPOINTS, REPEATS = 1 << 21, 64, 5


def tune(rehearse: bool) -> dict:
    """Seconds of a fit by each build; the best is kept for this kind of GPU."""
    kernel = native_kernel(rehearse)
    launches = [Launch()] + [dataclasses.replace(Launch(), **{name: n}) for name in GRID for n in GRID[name]]
    launches = launches[:1] + launches[-1:] if rehearse else launches
    problem = sigmoids(0, 64 if rehearse else CURVES, CHECKPOINTS)
    timed = dict(zip(launches, _timed(launches, kernel, problem, rehearse), strict=True))
    best = dataclasses.replace(
        Launch(),
        **{
            name: getattr(min((one for one in timed if _only(one, name)), key=timed.__getitem__), name) for name in GRID
        },
    )
    if best not in timed:
        (timed[best],) = _timed([best], kernel, problem, rehearse)
    best = min(timed, key=timed.__getitem__)
    kind = jax.devices()[0].device_kind
    path = None if rehearse else keep(kind, best)
    print(f"best: {best}, {timed[Launch()] / timed[best]:.2f} times as fast as {Launch()}", flush=True)
    rows = [dataclasses.asdict(launch) | {"seconds": seconds} for launch, seconds in timed.items()]
    return {"device": kind, "curves": len(problem.losses), "best": dataclasses.asdict(best), "tried": rows} | {
        "kept": path is not None
    }


def _only(launch: Launch, name: str) -> bool:
    """Whether it differs from the default in this number alone, if at all."""
    return dataclasses.replace(launch, **{name: getattr(Launch(), name)}) == Launch()


def _timed(launches: list[Launch], kernel: str, problem, rehearse: bool) -> list[float]:
    """Median seconds of a fit by each build; infinity where it cannot be built or does not run."""
    names = [kernel] * len(launches) if rehearse else _loaded(launches)
    family, losses = FAMILIES[problem.family](scale=problem.scale), jnp.asarray(problem.losses)
    seconds = []
    for launch, name in zip(launches, names, strict=True):
        seconds.append(_seconds(family, jnp.asarray(problem.time), losses, name) if name else float("inf"))
        print(f"{launch}: {len(problem.losses) / seconds[-1] / 1e6:.2f} million fits/s", flush=True)
    return seconds


def _loaded(launches: list[Launch]) -> list[str | None]:
    """Names by which JAX knows each build; None where there is none. Compilers run side by side."""
    capabilities = [device.compute_capability for device in jax.local_devices()]

    def build(launch: Launch):
        tools = building.cuda(*capabilities, launch=launch)
        try:
            return building.built(tools, building.compiler_of(tools) or [])[0]
        except (OSError, building.subprocess.SubprocessError) as error:
            print(f"{launch}: not built: {error}", flush=True)

    with ThreadPoolExecutor() as pool:
        libraries = list(pool.map(build, launches))
    names = []
    for launch, library in zip(launches, libraries, strict=True):
        name = "tuned_" + "_".join(map(str, dataclasses.astuple(launch)))
        if library is not None:
            native.TARGETS[name] = (f"{name}_solve", f"{name}_measure")
            loading.announce(library, "CUDA", native.TARGETS[name])
        names.append(name if library is not None else None)
    return names


def _seconds(family, axis, losses, kernel: str) -> float:
    def run() -> float:
        began = time.perf_counter()
        jax.block_until_ready(fit(family, axis, losses, options=options_of(kernel)).rss)
        return time.perf_counter() - began

    try:
        run()
        return statistics.median(run() for _ in range(REPEATS))
    except jax.errors.JaxRuntimeError as error:
        print(f"{kernel}: {error}", flush=True)
        return float("inf")
