"""Small matrices in batches, and what XLA must not run side by side."""
