"""The side that knows torch: networks, training, playing."""
