"""Beyond one process: workers beside one process, and what large jobs would take."""
