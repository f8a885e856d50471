"""Arrays as users have them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def native(values: Any) -> Any:
    """NumPy arrays of another byte order, and long doubles, as JAX can take them; all else as it is.

    FITS and NetCDF files hold such arrays. Long doubles become float64.
    """
    if not isinstance(values, np.ndarray | np.generic):
        return values
    kind = values.dtype
    return np.asarray(values, np.float64 if kind == np.longdouble else kind.newbyteorder("="))


def jax_array(values: Any) -> jax.Array:
    """`jnp.asarray`, for those too.

    Raises:
        TypeError: by JAX, values that are no numbers.

    Example:
        >>> import numpy as np
        >>> jax_array(np.array([1.0, 2.0], ">f4")).dtype
        dtype('float32')
    """
    return jnp.asarray(native(values))
