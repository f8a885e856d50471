"""Laws of the final loss over the size of a model and the tokens it was trained on."""

import abc
import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from ...arguments import known_array
from ...curves import Parameter
from .interface import Params

#: Floating point operations for a parameter and a token, forward and backward: ``C = 6·N·D``.
FLOPS_PER_PARAMETER_TOKEN = 6.0


@dataclasses.dataclass(frozen=True)
class SizeLaw(abc.ABC):
    """A law of the loss in the number of parameters ``N`` and the number of training tokens ``D``.

    Instances are hashable and stateless. Fits search *coordinates*, (p,) unconstrained numbers in the order of
    `names`, the logarithms of the parameters.
    """

    name: ClassVar[str]
    parameters: ClassVar[tuple[Parameter, ...]]
    #: Whether `log_loss` takes the logarithm of the epochs too, ``D`` over the unique tokens, 1 by default.
    counts_epochs: ClassVar[bool] = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of the coordinates."""
        return tuple(parameter.name for parameter in self.parameters)

    @abc.abstractmethod
    def log_loss(self, log_params: Params, log_size: Float[Array, "..."], log_tokens: Float[Array, "..."]) -> Array:
        """``ln L`` from the logarithms of the parameters, of N and of D."""

    @abc.abstractmethod
    def starts(self, loss: float) -> dict[str, tuple[float, ...]]:
        """Values of the parameters to begin from, in each combination, where N and D are 1 and the loss is known."""

    @abc.abstractmethod
    def shifted(self, log_params: Params, log_size: Float[Array, ""], log_tokens: Float[Array, ""]) -> Params:
        """The same law for N and D in units of ``exp(log_size)`` and ``exp(log_tokens)``."""

    @abc.abstractmethod
    def optimal_log_size(self, log_params: Params, log_product: Float[Array, "..."]) -> Float[Array, "..."]:
        """``ln N`` of the lowest loss where ``N·D`` is given by its logarithm."""


@dataclasses.dataclass(frozen=True)
class ChinchillaLaw(SizeLaw):
    """``L = floor + size_coefficient · N^-size_exponent + data_coefficient · D^-data_exponent``.

    E, A, α, B and β of arXiv 2203.15556, fitted as there by `tsl_jax.fit_size_law`.

    Attributes:
        name: ``"chinchilla"``.
        parameters: the five, with their units.

    Example:
        >>> import numpy as np, tsl_jax as tsl
        >>> from tsl_jax.temporal import fit_size_law
        >>> size, tokens = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e11, 5)))
        >>> fit = fit_size_law(tsl.ChinchillaLaw(), size, tokens, 1.8 + 480 * size**-0.35 + 2000 * tokens**-0.36)
        >>> round(float(fit.params["floor"]), 3), round(float(fit.params["data_exponent"]), 3)
        (1.8, 0.36)
    """

    name = "chinchilla"
    parameters = Parameter.several(
        floor="nat",
        size_coefficient="nat·parameters^exponent",
        size_exponent="1",
        data_coefficient="nat·tokens^exponent",
        data_exponent="1",
    )

    def log_loss(self, log_params, log_size, log_tokens):
        of_size = log_params["size_coefficient"] - jnp.exp(log_params["size_exponent"]) * log_size
        of_data = log_params["data_coefficient"] - jnp.exp(log_params["data_exponent"]) * log_tokens
        return jnp.log(jnp.exp(log_params["floor"]) + jnp.exp(of_size) + jnp.exp(of_data))

    def starts(self, loss):
        return {
            "floor": (0.2 * loss, 0.6 * loss, 0.9 * loss),
            "size_coefficient": (0.05 * loss, 0.3 * loss),
            "size_exponent": (0.2, 0.5, 1.0),
            "data_coefficient": (0.05 * loss, 0.3 * loss),
            "data_exponent": (0.2, 0.5, 1.0),
        }

    def shifted(self, log_params, log_size, log_tokens):
        return log_params | {
            "size_coefficient": log_params["size_coefficient"] - jnp.exp(log_params["size_exponent"]) * log_size,
            "data_coefficient": log_params["data_coefficient"] - jnp.exp(log_params["data_exponent"]) * log_tokens,
        }

    def optimal_log_size(self, log_params, log_product):
        alpha, beta = (jnp.exp(log_params[name]) for name in ("size_exponent", "data_exponent"))
        slopes = log_params["size_exponent"] + log_params["size_coefficient"]
        slopes = slopes - log_params["data_exponent"] - log_params["data_coefficient"]
        return (slopes + beta * log_product) / (alpha + beta)


@dataclasses.dataclass(frozen=True)
class KaplanLaw(SizeLaw):
    """``L = ((size_scale / N)^(size_exponent / data_exponent) + data_scale / D)^data_exponent``, without a floor.

    Equation 1.5 of arXiv 2001.08361: N_c, α_N, D_c and α_D.

    Attributes:
        name: ``"kaplan"``.
        parameters: the four, with their units.

    Example:
        >>> import numpy as np
        >>> from tsl_jax.temporal import KaplanLaw, fit_size_law
        >>> size, tokens = (a.ravel() for a in np.meshgrid(np.geomspace(1e7, 1e10, 5), np.geomspace(1e9, 1e11, 5)))
        >>> loss = ((8.8e13 / size) ** (0.076 / 0.095) + 5.4e13 / tokens) ** 0.095
        >>> round(float(fit_size_law(KaplanLaw(), size, tokens, loss).params["size_exponent"]), 3)
        0.076
    """

    name = "kaplan"
    parameters = Parameter.several(size_scale="parameters", size_exponent="1", data_scale="tokens", data_exponent="1")

    def log_loss(self, log_params, log_size, log_tokens):
        power = jnp.exp(log_params["size_exponent"] - log_params["data_exponent"])
        of_size = power * (log_params["size_scale"] - log_size)
        return jnp.exp(log_params["data_exponent"]) * jnp.logaddexp(of_size, log_params["data_scale"] - log_tokens)

    def starts(self, loss):
        exponents = (0.05, 0.1, 0.3)
        scales = tuple((part * loss) ** (1 / exponent) for exponent in (0.1, 0.3) for part in (0.7, 1.0))
        return {
            "size_scale": scales,
            "size_exponent": exponents,
            "data_scale": scales,
            "data_exponent": exponents,
        }

    def shifted(self, log_params, log_size, log_tokens):
        return log_params | {
            "size_scale": log_params["size_scale"] - log_size,
            "data_scale": log_params["data_scale"] - log_tokens,
        }

    def optimal_log_size(self, log_params, log_product):
        log_power = log_params["size_exponent"] - log_params["data_exponent"]
        power = jnp.exp(log_power)
        slopes = log_power + power * log_params["size_scale"] - log_params["data_scale"]
        return (slopes + log_product) / (power + 1)


@dataclasses.dataclass(frozen=True)
class DataConstrainedLaw(ChinchillaLaw):
    """Chinchilla's law of effective data: repeated tokens are worth less than new ones.

        ``D_eff = U · (1 + R* · (1 - exp(-R / R*)))``,  ``R = D / U - 1``

    with U unique tokens and R repetitions of each. After ``R* ln 2`` repetitions a further token is worth half of a new
    one; endless repetition is worth ``(1 + R*) U`` new tokens. The paper has such a term for excess parameters too,
    which is not here.

    Attributes:
        name: ``"data_constrained"``.
        parameters: the five of Chinchilla's law and ``repeat_scale``, R* (the paper: 15.4).

    Example:
        >>> import numpy as np
        >>> from tsl_jax.temporal import DataConstrainedLaw, fit_size_law
        >>> grid = np.meshgrid(np.geomspace(1e7, 1e10, 4), np.geomspace(1e9, 1e11, 4), [1.0, 4.0, 16.0])
        >>> size, tokens, epochs = (a.ravel() for a in grid)
        >>> data = tokens / epochs * (1 + 15.4 * (1 - np.exp(-(epochs - 1) / 15.4)))
        >>> loss = 1.8 + 480 * size**-0.35 + 2000 * data**-0.36
        >>> fit = fit_size_law(DataConstrainedLaw(), size, tokens, loss, unique_tokens=tokens / epochs)
        >>> round(float(fit.params["repeat_scale"]), 1)
        15.4

    Source: arXiv 2305.16264, equation 5.
    """

    name = "data_constrained"
    parameters = (*ChinchillaLaw.parameters, Parameter("repeat_scale", "epochs"))
    counts_epochs: ClassVar[bool] = True

    def log_loss(self, log_params, log_size, log_tokens, log_epochs=0.0):
        scale = jnp.exp(log_params["repeat_scale"])
        worth = jnp.log1p(-scale * jnp.expm1(-jnp.expm1(log_epochs) / scale))
        return super().log_loss(log_params, log_size, log_tokens - log_epochs + worth)

    def starts(self, loss):
        return super().starts(loss) | {"repeat_scale": (4.0, 30.0)}


def epochs_of(law: SizeLaw, tokens: np.ndarray, unique_tokens: ArrayLike | None) -> Float[np.ndarray, " runs"]:
    """How often each run saw its data, at least 1.

    Raises:
        ValueError: tokens that are absent, not positive, or not repeated differently; a law that knows no repetition.
    """
    if not law.counts_epochs:
        raise ValueError(
            f"unique_tokens: the law of {law.name} knows no repeated tokens; leave them out, or take "
            "tsl_jax.temporal.DataConstrainedLaw()"
        )
    if unique_tokens is None:
        raise ValueError(f"unique_tokens: got none, which the law of {law.name} needs; give each run's unique tokens")
    unique = known_array("unique_tokens", unique_tokens)
    if unique.shape != tokens.shape:
        raise ValueError(f"unique_tokens: got shape {unique.shape}, expected one a run, {tokens.shape}")
    good = np.isfinite(unique) & (unique > 0)
    if not good.all():
        row = int(np.argmin(good))
        raise ValueError(
            f"unique_tokens: got {unique[row]} in row {row}, expected positive numbers; leave that run out"
        )
    epochs = np.maximum(tokens / unique, 1.0)
    if (number := len(np.unique(epochs.round(6)))) < 3:
        raise ValueError(
            f"unique_tokens: runs of {number} number(s) of epochs, expected at least 3, such as 1, 4 and 16: fewer do "
            "not tell what repeated tokens are worth"
        )
    return epochs


#: Laws over model and data size by name.
SIZE_LAWS: dict[str, SizeLaw] = {law.name: law for law in (ChinchillaLaw(), KaplanLaw(), DataConstrainedLaw())}
