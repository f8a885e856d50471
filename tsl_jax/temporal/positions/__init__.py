"""The loss by position in the context: law, evolution, separation, evenness."""
