"""GuanYu's servers and workers as long-lived nodes, each with a key and a store of its own.

:class:`GuanYuNode` drives the machines of :mod:`flwr_byzantine.protocols.guanyu` over stores: what a node says lies
signed in its own, the others read it there, and nobody is waited for but a quorum.
"""

from flwr_byzantine.clients.guanyu.app import guanyu_app
from flwr_byzantine.clients.guanyu.config import GuanYuConfig
from flwr_byzantine.clients.guanyu.history import GuanYuHistory, StepRecord
from flwr_byzantine.clients.guanyu.node import GuanYuNode

__all__ = ["GuanYuConfig", "GuanYuHistory", "GuanYuNode", "StepRecord", "guanyu_app"]
