"""Audio between engine and encoder: sample rate, volume, loudness. Pure numpy, streaming."""
