"""Byte-level transformers trained at the rates of a schedule, one update after another, and their validation losses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from ..reweighting.runs import begin_params, losses


def _rule() -> optax.GradientTransformation:
    """AdamW without its rate, which every update is multiplied by."""
    return optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(), optax.add_decayed_weights(0.01))


@functools.partial(jax.jit, static_argnames=("size", "batch"))
def _advance(state, key, rates, first, last, text, size, batch):
    rule = _rule()

    def objective(params, rows):
        return jnp.mean(losses(params, rows[:, :-1], rows[:, 1:], size))

    def step(count, state):
        params, memory = state
        rows = text[jax.random.randint(jax.random.fold_in(key, count), (batch,), 0, len(text))]
        update, memory = rule.update(jax.grad(objective)(params, rows), memory, params)
        return jax.tree.map(lambda p, u: p - rates[count] * u, params, update), memory

    return jax.lax.fori_loop(first, last, step, state)


@functools.partial(jax.jit, static_argnames="size")
def _examined(params, text, size):
    return jnp.mean(losses(params, text[:, :-1], text[:, 1:], size))


def trained(seed: int, rates: np.ndarray, at: np.ndarray, rows: dict, preset: dict) -> np.ndarray:
    """Validation losses (nat) of one run after these updates; the same seed draws the same rows whatever the rates."""
    from tsl_jax.simulate import Transformer

    size = Transformer(*preset["size"])
    params, key = begin_params(seed, size)
    state, text = (params, _rule().init(params)), {name: jnp.asarray(values) for name, values in rows.items()}
    rate, found = jnp.asarray(rates, jnp.float32), []
    for first, last in zip([0, *at[:-1]], at, strict=True):
        state = _advance(state, key, rate, int(first), int(last), text["reference"], size, preset["batch"])
        found.append(_examined(state[0], text["validation"], size))
    return np.asarray(jnp.stack(found), np.float64)
