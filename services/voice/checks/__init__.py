"""Checks: what is wrong with audio that an engine made."""
