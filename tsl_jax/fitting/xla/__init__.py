"""The engine in JAX: the reference of the kernel in C++, for any family and any device."""
