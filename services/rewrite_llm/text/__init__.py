"""Reading text as its author meant it to be read: disguises undone, phrases found, language guessed."""
