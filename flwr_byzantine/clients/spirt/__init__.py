"""SPIRT's peers as Flower nodes: an ordinary function or ClientApp, started by ``strategies.Spirt``."""

from flwr_byzantine.clients._roles.training import Evaluate, GradientsOf
from flwr_byzantine.clients.spirt.app import peer_app

__all__ = ["Evaluate", "GradientsOf", "peer_app"]
