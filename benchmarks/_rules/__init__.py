"""The parts of ``benchmarks/rules.py``."""
