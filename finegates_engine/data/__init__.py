"""A task to checked, tokenised rows."""
