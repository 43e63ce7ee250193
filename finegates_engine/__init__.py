"""FineGates: learn which rows and columns of a frozen Transformer to keep (arXiv 2412.12951)."""

__version__ = "0.1.0"
