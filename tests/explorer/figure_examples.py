"""The quantities that figures are drawn over, and the texts in a figure."""

X, Y = "folded_encoder_fraction", "metrics.validation.accuracy"


def notes(figure):
    """What is written beside the marks."""
    return [a.text for a in figure.layout.annotations]
