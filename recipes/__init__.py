"""Recipes of the bundled models: their data, training and evaluation. Nothing in the product imports this package."""
