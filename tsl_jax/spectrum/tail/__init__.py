"""The tail of the spectrum: its law, rivals, and how good it is."""
