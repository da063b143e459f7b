"""One folder for each deployable of the studio."""
