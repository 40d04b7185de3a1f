"""docs/benchmarks.md and its charts, made from bench/results."""
