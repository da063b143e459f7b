"""XTTS v2: many languages, voices from clips, streaming and batches. Torch is imported when an engine is loaded."""
