"""Tables that others wrote, read in bounded memory."""
