"""Laws of the mean loss and forecasts on runs kept aside."""
