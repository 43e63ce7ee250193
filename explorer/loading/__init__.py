"""What is read from a store, or computed from it once and kept."""
