"""The option ``--devices``."""

from typing import Any

import typer


def chosen_devices(number: int | None) -> Any:
    """So many of the local devices; None stands for all. To be called before JAX has started a device."""
    from ..stream.cores import MOST_CPU_DEVICES, share_out_the_cores
    from ..stream.machine import local_devices

    share_out_the_cores(max(1, number) if number else MOST_CPU_DEVICES)
    if number is None:
        return None
    there = local_devices()
    if not 1 <= number <= len(there):
        raise typer.BadParameter(
            f"got {number}, expected 1 to {len(there)}, the devices that are here ({there[0].device_kind})",
            param_hint="--devices",
        )
    return there[:number]
