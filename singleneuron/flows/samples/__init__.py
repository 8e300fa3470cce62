"""The gradient flow on n samples in d > 1 coordinates, integrated from event to event."""
