"""Gather a recipe's runs into tables: accuracies, masks and signs at each level, and statistics of them."""
