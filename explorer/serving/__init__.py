"""How many users' scripts share one process."""
