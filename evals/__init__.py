"""Labelled prompts, and how well choosing and screening do on them. For development only."""
