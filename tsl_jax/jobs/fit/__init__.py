"""From a loss store to a fit store: prepare, read, fit, write, resume."""
