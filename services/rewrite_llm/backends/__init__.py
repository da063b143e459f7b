"""The language model as the use cases see it: loaded by residency, run on the device thread."""
