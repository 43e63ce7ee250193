"""`python -m finegates_engine` is `finegates`: what accelerate launch can start."""

from finegates_engine.cli import main

if __name__ == "__main__":
    main()
