"""Options that belong together: one parameter of the functions behind the commands, several options on the line."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """``function`` as Typer takes it: a parameter that is a dataclass of options becomes them, in its place."""
    hints = typing.get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if dataclasses.is_dataclass(hint)}
    options = []
    for name, parameter in inspect.signature(function).parameters.items():
        fields = dataclasses.fields(groups[name]) if name in groups else ()
        options += [
            inspect.Parameter(field.name, parameter.KEYWORD_ONLY, default=field.default, annotation=field.type)
            for field in fields
        ] or [parameter.replace(annotation=hints[name], kind=parameter.KEYWORD_ONLY)]

    @functools.wraps(function)
    def call(**given):
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in dataclasses.fields(group)})
        return function(**given)

    call.__signature__ = inspect.Signature(options)  # pyright: ignore[reportAttributeAccessIssue]
    call.__annotations__ = {option.name: option.annotation for option in options}
    return call
