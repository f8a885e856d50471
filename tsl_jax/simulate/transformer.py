"""A small causal transformer: RMS norms before each part, rotary positions, GELU; parameters in one dict of arrays."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from . import checks

Params = dict[str, Array]
_ROTARY_BASE = 10_000.0
_TINY = 1e-6


@dataclasses.dataclass(frozen=True)
class Transformer:
    """Size of a transformer.

    Args:
        layers: number of blocks, each attention and a perceptron of four times the width.
        heads: of attention.
        width: a multiple of twice the heads.

    Raises:
        ValueError: a count below 1, or a width that the heads do not divide into even parts.

    Example:
        >>> TRANSFORMERS["paper"]
        Transformer(layers=8, heads=8, width=512)
    """

    layers: int = 2
    heads: int = 4
    width: int = 128

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "width"):
            checks.whole(name, getattr(self, name))
        if self.width % (2 * self.heads):
            raise ValueError(
                f"width: got {self.width}, expected a multiple of {2 * self.heads}, twice the heads: rotary positions "
                "turn pairs"
            )


#: Presets: the transformer of arXiv 2606.29858, and one for two CPU cores.
TRANSFORMERS = {"paper": Transformer(8, 8, 512), "small": Transformer(2, 4, 128)}


def init_transformer(key: Array, size: Transformer, vocabulary: int) -> Params:
    """Random parameters; those of the blocks are stacked along their first axis.

    Args:
        key: of the random numbers.
        size: `Transformer`.
        vocabulary: number of token ids.

    Returns:
        Arrays by name, float32. Matrices are normal with variance 1/inputs, those that write to the residual stream
        smaller by √(2·layers); the output starts at 0, so that all tokens are equally likely at first.

    Raises:
        ValueError: a vocabulary below 2.

    Example:
        >>> params = init_transformer(jax.random.key(0), Transformer(2, 2, 8), 10)
        >>> params["attention_in"].shape, sum(values.size for values in params.values())
        ((2, 8, 24), 1736)
    """
    checks.whole("vocabulary", vocabulary, 2)
    width, blocks = size.width, size.layers
    keys = jax.random.split(key, 5)

    def matrix(key, inputs, outputs, scale=1.0):
        return jax.random.normal(key, (blocks, inputs, outputs)) * (scale * inputs**-0.5)

    quiet = (2 * blocks) ** -0.5
    return {
        "embedding": jax.random.normal(keys[0], (vocabulary, width)),
        "attention_norm": jnp.ones((blocks, width)),
        "attention_in": matrix(keys[1], width, 3 * width),
        "attention_out": matrix(keys[2], width, width, quiet),
        "perceptron_norm": jnp.ones((blocks, width)),
        "perceptron_in": matrix(keys[3], width, 4 * width),
        "perceptron_out": matrix(keys[4], 4 * width, width, quiet),
        "norm": jnp.ones(width),
        "output": jnp.zeros((width, vocabulary)),
    }


def transformer_states(
    params: Params, tokens: Int[Array, "sequences positions"], size: Transformer
) -> Float[Array, "sequences positions width"]:
    """What the last norm gives out at every position: times ``params["output"]`` these are the logits.

    Args:
        params: of `init_transformer`.
        tokens: (sequences, positions) token ids.
        size: `Transformer`.

    Returns:
        (sequences, positions, width) states; each depends on the tokens up to its own alone.

    Example:
        >>> size = Transformer(1, 1, 4)
        >>> transformer_states(init_transformer(jax.random.key(0), size, 5), jnp.array([[1, 2, 3]]), size).shape
        (1, 3, 4)
    """
    turn = _rotation(tokens.shape[1], size.width // size.heads)

    def block(x, part):
        x = x + _attention(_normed(x, part["attention_norm"]), part, size.heads, turn)
        inner = jax.nn.gelu(_normed(x, part["perceptron_norm"]) @ part["perceptron_in"])
        return x + inner @ part["perceptron_out"], None

    blocks = {name: values for name, values in params.items() if name.startswith(("attention", "perceptron"))}
    x, _ = jax.lax.scan(block, params["embedding"][tokens], blocks)
    return _normed(x, params["norm"])


def _attention(x, part, heads: int, turn):
    q, k, v = (values.reshape(*x.shape[:2], heads, -1) for values in jnp.split(x @ part["attention_in"], 3, axis=-1))
    mixed = jax.nn.dot_product_attention(_turned(q, turn), _turned(k, turn), v, is_causal=True)
    return mixed.reshape(x.shape) @ part["attention_out"]


def _normed(x, gain):
    return x * jax.lax.rsqrt(jnp.mean(jnp.square(x), axis=-1, keepdims=True) + _TINY) * gain


def _rotation(positions: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """(positions, 1, width/2) cosines and sines of RoPE, arXiv 2104.09864."""
    speed = _ROTARY_BASE ** -(np.arange(width // 2) / (width // 2))
    angle = np.arange(positions)[:, None, None] * speed
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _turned(x, turn):
    cos, sin = turn
    one, other = jnp.split(x, 2, axis=-1)
    return jnp.concatenate([one * cos - other * sin, one * sin + other * cos], axis=-1)
