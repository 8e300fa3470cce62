"""The theory's predictions for deep networks, and how they are decided."""
