"""Training by gradient flow or gradient descent: one file per problem or method; `integrate` calls them."""
