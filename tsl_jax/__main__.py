"""`python -m tsl_jax` is the command `tsl`."""

from .cli import main

if __name__ == "__main__":
    main()
