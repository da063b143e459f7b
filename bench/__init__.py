"""Measurements: `python -m bench` runs all, `python -m bench NAME` one.

Every module here whose name has no leading underscore is a benchmark: it has a `run()` that returns its `Figure`s, and
a docstring that says what is compared. Results go to `bench/results/NAME.json` and, for people, `NAME.md`.
"""
