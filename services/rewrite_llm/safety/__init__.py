"""The safety rules: one file a category, which anyone can edit, and the code that applies them."""
