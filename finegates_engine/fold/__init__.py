"""What leaves when gates close: which dimensions, and each block made smaller."""
