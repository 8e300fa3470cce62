"""Training by gradient flow or gradient descent: `integrate` calls one module for each problem and method."""
