"""The language model of the studio: which image model suits a prompt, is the prompt safe, and how to make it so."""
