"""The parts of ``benchmarks/mnist_heterogeneous.py``."""
