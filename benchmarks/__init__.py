"""Problems with known truth, an independent oracle, and `tsl_jax` beside its peers on them."""
