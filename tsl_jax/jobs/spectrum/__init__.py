"""From fit stores to the learning-time spectrum and what it says of the mean loss."""
