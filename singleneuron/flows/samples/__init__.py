"""The gradient flow of n samples in d > 1 coordinates, integrated from event to event."""
