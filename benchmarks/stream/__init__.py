"""From store to store, and collecting: rate and memory."""
