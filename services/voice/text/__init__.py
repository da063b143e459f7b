"""Text: made speakable, cut into sentences."""
