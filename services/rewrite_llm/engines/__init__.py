"""What answers: a language model through transformers, or rules."""
