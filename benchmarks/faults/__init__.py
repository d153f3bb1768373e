"""What becomes of runs, logs, files and specs when something goes wrong, counted: ``python -m benchmarks.faults``."""
