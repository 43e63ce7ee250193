"""What stored runs say: intervals, curves, gates that agree, a recommendation."""
