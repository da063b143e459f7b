"""The soak: hours of load in short, and the faults that an operator will see one day. `make soak MINUTES=30`."""
