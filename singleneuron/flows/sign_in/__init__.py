"""The gradient flow of Sign-In, whose weights are products m u, as a flow in a diagonal metric."""
