"""Part ``check``: the native kernel against XLA's, on this device, over families, lengths, gaps, weights and dtypes."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tsl_jax import FAMILIES, Fit, fit
from tsl_jax.fitting import has_parameters
from tsl_jax.fitting.kernel_check import difference

from ..fitting.problems import Problem, hyperbolas, power_laws, sigmoids
from .kernels import native_kernel, options_of

_MAKERS = {"sigmoid": sigmoids, "hyperbola": hyperbolas, "power_law": power_laws}
#: Curves of a case, of the largest one, and of a rehearsal's.
CURVES, MOST, FEW = 1 << 16, 1 << 24, 128


class Case(NamedTuple):
    """One way to call both kernels."""

    family: str
    checkpoints: int
    dtype: Any = jnp.float32
    weighted: bool = False


CASES = [
    *(Case("sigmoid", n) for n in (64, 16, 256, 1024)),
    *(Case(family, 64) for family in ("hyperbola", "power_law")),
    Case("sigmoid", 64, weighted=True),
    Case("sigmoid", 64, jnp.float16),
    Case("sigmoid", 64, jnp.bfloat16),
]


def check(rehearse: bool) -> dict:
    """How many curves end apart, better and worse, case by case; whether `kernel="auto"` would take the kernel."""
    kernel = native_kernel(rehearse)
    found: dict[str, Any] = {"kernel": kernel, "cases": []}
    for name in () if rehearse else FAMILIES:
        found[f"self_check_{name}"] = difference(FAMILIES[name](), options_of(kernel)) or "agrees"
        print(f"{name}: self-check: {found[f'self_check_{name}']}", flush=True)
    for case in CASES[:: len(CASES) - 1] if rehearse else CASES:
        found["cases"].append(_compared(case, kernel, FEW if rehearse else CURVES))
    found["large"] = _large(kernel, 4 * FEW if rehearse else MOST)
    return found


def _compared(case: Case, kernel: str, curves: int) -> dict:
    problem = _MAKERS[case.family](case.checkpoints, curves, case.checkpoints)
    rng = np.random.default_rng(case.checkpoints)
    losses = np.where((rng.random(problem.losses.shape) < 0.1) & (np.arange(curves)[:, None] % 2 == 0), np.nan, 0)
    losses = jnp.asarray(losses + problem.losses, case.dtype)
    weights = jnp.asarray(rng.uniform(0.1, 10, losses.shape), jnp.float32) if case.weighted else None
    ours, theirs = (_fitted(problem, name, losses, weights) for name in (kernel, "xla"))
    row = {**case._asdict(), "dtype": jnp.dtype(case.dtype).name, "curves": curves} | apart(ours, theirs)
    weighted = ", weighted" if case.weighted else ""
    print(f"{case.family} of {case.checkpoints}, {row['dtype']}{weighted}, gaps in half: {_words(row)}", flush=True)
    return row


def _fitted(problem: Problem, kernel: str, losses, weights=None) -> Fit:
    family = FAMILIES[problem.family](scale=problem.scale)
    found = fit(family, jnp.asarray(problem.time), losses, weights, options=options_of(kernel))
    return jax.tree.map(np.asarray, found)


def apart(ours: Fit, theirs: Fit) -> dict:
    """Fractions of curves whose rss is 1% above or below the other's, whose status differs, whose results are NaN."""
    usable = has_parameters(theirs.status)
    a, b = ours.rss[usable].astype(float), theirs.rss[usable].astype(float)
    floor = 1e-10 * np.nanmedian(b)
    return {
        "worse": float(np.mean(a > 1.01 * b + floor)),
        "better": float(np.mean(b > 1.01 * a + floor)),
        "other_status": float(np.mean(ours.status != theirs.status)),
        "nan": float(np.mean(~np.isfinite(a))),
    }


def _words(row: dict) -> str:
    return (
        f"{row['worse']:.2%} worse, {row['better']:.2%} better, {row['other_status']:.2%} of another status, "
        f"{row['nan']:.2%} NaN"
    )


def _large(kernel: str, curves: int) -> dict:
    """Very many curves at once: those of one block again and again must come out the same wherever they lie."""
    few = min(curves // 4, CURVES)
    problem = sigmoids(1, few, 64)
    family, time = FAMILIES[problem.family](scale=problem.scale), jnp.asarray(problem.time)

    @jax.jit
    def repeated(losses):
        whole = jnp.tile(losses, (curves // few, 1))
        rss = fit(family, time, whole, options=options_of(kernel)).rss.reshape(-1, few)
        return jnp.sum(~jnp.all((rss == rss[0]) | jnp.isnan(rss[0]), axis=0)), jnp.sum(jnp.isnan(rss))

    other, missing = (int(n) for n in repeated(jnp.asarray(problem.losses, jnp.float32)))
    print(f"{curves:,} curves at once: {other} of {few:,} come out otherwise elsewhere, {missing} NaN", flush=True)
    return {"curves": curves, "otherwise": other, "nan": missing}
