"""The predictions of the theory for deep networks, and how they are decided."""
