"""Where the time of a pruned run goes, and what would change it."""
