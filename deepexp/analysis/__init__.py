"""Gather a recipe's runs into tables of accuracies, masks and signs at each level, with statistics."""
