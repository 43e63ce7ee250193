"""A pruned run as a folder that needs no more of this package."""
