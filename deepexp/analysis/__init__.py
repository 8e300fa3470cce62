"""The runs of a recipe gathered into tables: accuracies, masks and signs by level, and statistics of them."""
