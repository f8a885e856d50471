"""What training's clock is: dynamic time, histories, curves of the mean loss, the law in time."""
