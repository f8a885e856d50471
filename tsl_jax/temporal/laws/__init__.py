"""Laws of the mean loss that know the schedule, fitted and cross-validated."""
