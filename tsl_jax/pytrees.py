"""Results: frozen dataclasses of arrays that JAX takes apart and puts together again."""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax

Result = TypeVar("Result", bound=type)


def static() -> Any:
    """A field that is no array: it is part of the structure, and so of what a program is compiled for."""
    return dataclasses.field(metadata={"static": True})


@dataclass_transform(frozen_default=True, field_specifiers=(static, dataclasses.field))
def pytree(cls: Result) -> Result:
    """A frozen dataclass that is a pytree of its fields."""
    return jax.tree_util.register_dataclass(dataclasses.dataclass(frozen=True)(cls))  # pyright: ignore[reportReturnType]
