"""Grids and paths of runs: planned, locked, resumable."""
