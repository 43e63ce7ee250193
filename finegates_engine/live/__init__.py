"""A user's own text through the models of a run."""
