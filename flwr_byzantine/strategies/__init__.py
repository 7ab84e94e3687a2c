"""Flower strategies that a few lying nodes cannot break, for Flower's Message API.

Change one import: ``from flwr_byzantine.strategies import MultiKrum`` in place of Flower's own. Each class is
:class:`RobustStrategy` over one rule of :mod:`flwr_byzantine.rules`, and any other rule runs in it too.
"""

from flwr_byzantine.admission import AdmissionPolicy, Rejected
from flwr_byzantine.strategies._guanyu_report import GuanYuResult, StepReport
from flwr_byzantine.strategies._metrics import median_metrics
from flwr_byzantine.strategies._report import RobustResult, RoundReport
from flwr_byzantine.strategies._roles_report import PeerReport
from flwr_byzantine.strategies.adversary import Adversary
from flwr_byzantine.strategies.guanyu import GuanYu
from flwr_byzantine.strategies.guanyu_nodes import GuanYuNodes, GuanYuNodesResult
from flwr_byzantine.strategies.named import (
    Bulyan,
    GeometricMedian,
    Krum,
    Mda,
    Meamed,
    MultiKrum,
    RobustMedian,
    TrimmedMean,
)
from flwr_byzantine.strategies.robust import RobustStrategy
from flwr_byzantine.strategies.spirt import Spirt, SpirtResult
from flwr_byzantine.strategies.stateful import CenteredClipping, FLTrust

__all__ = [
    "AdmissionPolicy",
    "Adversary",
    "Bulyan",
    "CenteredClipping",
    "FLTrust",
    "GeometricMedian",
    "GuanYu",
    "GuanYuNodes",
    "GuanYuNodesResult",
    "GuanYuResult",
    "Krum",
    "Mda",
    "Meamed",
    "MultiKrum",
    "PeerReport",
    "Rejected",
    "RobustMedian",
    "RobustResult",
    "RobustStrategy",
    "RoundReport",
    "Spirt",
    "SpirtResult",
    "StepReport",
    "TrimmedMean",
    "median_metrics",
]
