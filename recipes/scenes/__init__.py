"""Captioned flat illustrations in four fields, drawn by program and fixed by a seed."""
