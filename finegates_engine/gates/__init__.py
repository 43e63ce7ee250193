"""Gates in a frozen model: their maths, their layers, penalty and exact target."""
