"""How fast models are: races, raw values, stored timings."""
