"""Encoders: from samples to bytes of a file format, a piece at a time."""
