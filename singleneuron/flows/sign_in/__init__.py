"""The gradient flow of Sign-In, whose weights are products m u: the flow of the loss in a diagonal metric."""
