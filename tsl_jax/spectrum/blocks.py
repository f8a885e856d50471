"""Fitted tokens in blocks of one length, as the device takes them."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt8, UInt32

from ..curves.parts import is_wider
from ..pytrees import pytree
from .exact import MOST_ITEMS

#: Arrays of every block.
_ROWS = 8


@pytree
class TokenBlock:
    """Fitted tokens as arrays (tokens,), at most `tsl_jax.spectrum.MOST_ITEMS` of them.

    Attributes:
        learning_time, sharpness, loss_drop, final_loss: the sigmoid's parameters.
        constant: the best constant.
        status: `tsl_jax.Status`.
        category: `tsl_jax.Category`.
        sequence: a number that tokens of one sequence share; any 32 bits.
        number: the first so many rows count; those after are padding.
        learning_low: what learning times lack in float32, of fits in windows far from 0; None elsewhere.
    """

    learning_time: Float[Array, " tokens"]
    sharpness: Float[Array, " tokens"]
    loss_drop: Float[Array, " tokens"]
    final_loss: Float[Array, " tokens"]
    constant: Float[Array, " tokens"]
    status: UInt8[Array, " tokens"]
    category: UInt8[Array, " tokens"]
    sequence: UInt32[Array, " tokens"]
    number: Int[Array, ""]
    learning_low: Float[Array, " tokens"] | None = None


def block_rows(params, constant, status, category, sequence) -> tuple[np.ndarray, ...]:
    """The arrays of a `TokenBlock` as NumPy arrays (tokens,), from those of a fit or a fit store.

    Args:
        params: arrays by name, as in `tsl_jax.Fit`.
        constant, status, category: as in `tsl_jax.Fit`.
        sequence: whole numbers that tokens of one sequence share, or the tokens' own numbers.
    """
    names = ("learning_time", "sharpness", "loss_drop", "final_loss")
    real = [np.asarray(values, np.float32).ravel() for values in (*(params[name] for name in names), constant)]
    small = [np.asarray(values, np.uint8).ravel() for values in (status, category)]
    rows = *real, *small, folded(sequence)
    time = params["learning_time"]
    if not is_wider(time, params["sharpness"]):
        return rows
    return *rows, (np.asarray(time).ravel() - real[0]).astype(np.float32)


def folded(sequence) -> np.ndarray:
    """Numbers of sequences as 32 bits, (tokens,) uint32."""
    number = np.asarray(sequence).ravel().astype(np.int64)
    return (number ^ (number >> 32)).astype(np.uint32)


def token_block(rows: tuple[np.ndarray, ...], length: int, *, most: int = MOST_ITEMS) -> TokenBlock:
    """Rows of `block_rows` padded to a block of ``length`` tokens.

    Raises:
        ValueError: there are more rows, or the block would exceed ``most``, by default `MOST_ITEMS`.
    """
    number = len(rows[0])
    if number > length or length > most:
        raise ValueError(f"length: got {length} for {number} tokens, expected at least these and at most {most}")
    padded = [jnp.asarray(np.pad(values, (0, length - number))) for values in rows]
    *padded, low = padded if len(padded) > _ROWS else (*padded, None)
    return TokenBlock(*padded, number=jnp.asarray(number, jnp.int32), learning_low=low)


def resample_of(sequence: UInt32[Array, " tokens"], resamples: int) -> Int[Array, " tokens"]:
    """The resample group of each sequence, random whatever the order of the store.

    By the finaliser of MurmurHash3 (Appleby, public domain), which maps different numbers to different ones.

    Args:
        sequence: (tokens,) a number that tokens of one sequence share; see `block_rows` for longer ones.
        resamples: number of groups.
    """
    number = jnp.asarray(sequence, jnp.uint32)
    number = (number ^ (number >> 16)) * jnp.uint32(0x85EBCA6B)
    number = (number ^ (number >> 13)) * jnp.uint32(0xC2B2AE35)
    return ((number ^ (number >> 16)) % resamples).astype(jnp.int32)
