"""What runs on Flower's client side: SPIRT's peers, GuanYu's nodes, and those that turn hostile for an experiment."""

from flwr_byzantine.clients.attackers import attack_mod, is_byzantine, poison
from flwr_byzantine.clients.guanyu import GuanYuConfig, GuanYuHistory, GuanYuNode, StepRecord, guanyu_app
from flwr_byzantine.clients.guanyu_mod import guanyu_mod
from flwr_byzantine.clients.peer import Peer, PeerAttack, PeerConfig, PeerHistory, PeerStep, RoundRecord
from flwr_byzantine.clients.spirt import peer_app

__all__ = [
    "GuanYuConfig",
    "GuanYuHistory",
    "GuanYuNode",
    "Peer",
    "PeerAttack",
    "PeerConfig",
    "PeerHistory",
    "PeerStep",
    "RoundRecord",
    "StepRecord",
    "attack_mod",
    "guanyu_app",
    "guanyu_mod",
    "is_byzantine",
    "peer_app",
    "poison",
]
