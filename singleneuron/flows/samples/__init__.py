"""The gradient flow of n samples in d > 1 coordinates, from event to event."""
