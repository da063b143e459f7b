"""What looks at a picture before anybody else does."""
