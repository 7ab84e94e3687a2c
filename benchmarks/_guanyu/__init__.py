"""The parts of ``benchmarks/guanyu.py``."""
