"""python -m finegates_model [FOLDER [TEXT [SECOND TEXT]]]: check a bundle, or ask its model."""

import argparse
import sys
from pathlib import Path

from .check import answer, check


def main() -> int:
    """The exit code: 0, or 1 where the bundle does not work here."""
    parser = argparse.ArgumentParser(
        prog="python -m finegates_model",
        description="Check that a bundle gives the expected logits here, or ask its model.",
    )
    here = Path(__file__).resolve().parents[1]
    parser.add_argument("folder", nargs="?", default=here, help="the bundle (default: this one)")
    parser.add_argument("text", nargs="*", help="one text, or the two that the model compares")
    options = parser.parse_args()
    try:
        if options.text:
            for name, value in answer(options.folder, options.text[:2]).items():
                print(f"{value:.4f}  {name}")
        else:
            off = check(options.folder)
            print(
                f"OK: logits as expected, {f'to {off:.0e} of the largest' if off else 'exactly'}."
            )
    except ValueError as error:
        print(f"Not OK: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
