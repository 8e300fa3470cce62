"""Training, integrated in time: one file per problem or method, all driven by `integrate`."""
