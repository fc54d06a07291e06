"""`python -m benchmarks`: every benchmark there is."""

from benchmarks.drain import main

if __name__ == "__main__":
    raise SystemExit(main())
