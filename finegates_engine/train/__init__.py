"""One training: from a config to a run result, and back to a model."""
