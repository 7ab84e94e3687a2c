"""Between Flower's records and the rows of a matrix: names, shapes and dtypes of a model, and back.

A row holds the floating-point arrays of a model one after the other, in the order sent. Integer and boolean
arrays (counters, masks) are buffers: they have no place in a row and are aggregated apart.
"""

from flwr_byzantine.records._arrays import NUMPY, ArraySpec, NpyHeader, npy_view, read_npy_header
from flwr_byzantine.records._layout import Buffers as Buffers
from flwr_byzantine.records._layout import Flat as Flat
from flwr_byzantine.records._layout import Layout, buffer_median, records_of, replace_arrays

__all__ = [
    "NUMPY",
    "ArraySpec",
    "Layout",
    "NpyHeader",
    "buffer_median",
    "npy_view",
    "read_npy_header",
    "records_of",
    "replace_arrays",
]
