"""Choosing a model by rules: topics in data files, matched against what the candidates say of themselves."""
