"""Training by gradient flow or gradient descent: a file per problem or method, all called by `integrate`."""
