"""What a GPU makes of the engine."""
