"""Runs on disk: one run, all runs, the store."""
