"""`python -m tsl_jax.cli` is the command `tsl`."""

from . import main

if __name__ == "__main__":
    main()
