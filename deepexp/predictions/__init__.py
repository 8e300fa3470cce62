"""The theory's predictions for deep networks, and how each prediction gets its verdict."""
