"""Maps and Monte Carlo studies: how often, and from where, training succeeds."""
