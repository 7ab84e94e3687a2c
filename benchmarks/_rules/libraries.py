"""The libraries that live in an environment of their own: ByzFL and ByzPy."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np

from _rules.methods import STEPS, Contender, on_arrays, on_tensors, radius


def byzfl(threads: int, *, arrays: bool) -> Contender:
    """ByzFL, on NumPy arrays or on torch tensors: it does with each what that library has."""
    import torch

    torch.set_num_threads(threads)
    # Its __init__ imports its training code, and with it torchvision and seaborn; the rules need neither.
    spec = importlib.util.find_spec("byzfl")
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError("byzfl is not in this environment")
    package = types.ModuleType("byzfl")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["byzfl"] = package
    rules = importlib.import_module("byzfl.aggregators.aggregators")
    pre = importlib.import_module("byzfl.aggregators.preaggregators")
    distance_tool = importlib.import_module("byzfl.utils.misc").distance_tool

    def distances(x: list[Any], _: int) -> Any:
        stacked = np.stack(x) if arrays else torch.stack(x)
        return distance_tool(stacked).cdist(stacked, stacked) ** 2

    made: dict[str, Callable[..., Any]] = {
        "mean": lambda x, _: rules.Average()(x),
        "median": lambda x, _: rules.Median()(x),
        "trimmed mean": lambda x, f: rules.TrMean(f)(x),
        "meamed": lambda x, f: rules.Meamed(f)(x),
        "krum": lambda x, f: rules.Krum(f)(x),
        "multi-krum": lambda x, f: rules.MultiKrum(f)(x),
        "geometric median": lambda x, _: rules.GeometricMedian()(x),
        "centered clipping": lambda x, _: rules.CenteredClipping(L=STEPS, tau=radius(len(x[0])))(x),
        "mda": lambda x, f: rules.MDA(f)(x),
        "nnm >> trimmed mean": lambda x, f: rules.TrMean(f)(pre.NNM(f)(x)),
        "distances": distances,
    }
    take = on_arrays if arrays else on_tensors
    return Contender(("byzfl", "numpy" if arrays else "torch"), {name: take(call) for name, call in made.items()})


def byzpy(threads: int) -> Contender:
    """ByzPy, called directly: without its pool of processes."""
    import torch

    from_ = importlib.import_module
    columns, geometric = "byzpy.aggregators.coordinate_wise.", "byzpy.aggregators.geometric_wise."
    median = from_(columns + "median").CoordinateWiseMedian
    trimmed = from_(columns + "trimmed_mean").CoordinateWiseTrimmedMean
    meamed = from_(columns + "mean_of_medians").MeanOfMedians
    krum = from_(geometric + "krum")
    weiszfeld = from_(geometric + "geometric_median").GeometricMedian
    diameter = from_(geometric + "minimum_diameter_average").MinimumDiameterAveraging
    clipping = from_("byzpy.aggregators.norm_wise.center_clipping").CenteredClipping
    mixing = from_("byzpy.pre_aggregators.nnm").NearestNeighborMixing
    torch.set_num_threads(threads)

    def clipped(x: list[Any], _: int) -> Any:
        return clipping(c_tau=radius(len(x[0])), M=STEPS, init="zero").aggregate(x)

    made: dict[str, Callable[..., Any]] = {
        "median": lambda x, _: median().aggregate(x),
        "trimmed mean": lambda x, f: trimmed(f).aggregate(x),
        "meamed": lambda x, f: meamed(f).aggregate(x),
        "krum": lambda x, f: krum.Krum(f).aggregate(x),
        "multi-krum": lambda x, f: krum.MultiKrum(f, len(x) - f).aggregate(x),
        "geometric median": lambda x, _: weiszfeld().aggregate(x),
        "centered clipping": clipped,
        "mda": lambda x, f: diameter(f).aggregate(x),
        "nnm >> trimmed mean": lambda x, f: trimmed(f).aggregate(mixing(f).pre_aggregate(x)),
        "distances": lambda x, _: krum._pairwise_sq_dists(torch.stack(x)),
    }
    return Contender(("byzpy", "torch"), {name: on_tensors(function) for name, function in made.items()})
