"""GuanYu: parameter servers of which up to a third may be Byzantine, as two pure state machines.

A driver carries messages and computes; the machines say what counts. Both follow the same pattern::

    for action in server.start(model):
        do(action)          # Send: carry it; Aggregate, Contract, CatchUp: compute, and hand in the answer
    ...
    for action in server.handle(Arrived(message)):
        do(action)

Workers of the synchronous version of ByzSGD ask one server between exchanges, and judge its model by
:class:`ModelFilters`.

Time never enters: nothing is waited for but messages, and never for more than a quorum of them.
"""

from flwr_byzantine.protocols.guanyu.filters import Last, Memory, ModelFilters, Verdict
from flwr_byzantine.protocols.guanyu.messages import (
    Action,
    Aggregate,
    Aggregated,
    Arrived,
    CatchUp,
    Compute,
    Computed,
    Contract,
    Contracted,
    Event,
    Kind,
    Message,
    Reason,
    Refused,
    Role,
    Send,
)
from flwr_byzantine.protocols.guanyu.server import GuanYuServer, Phase
from flwr_byzantine.protocols.guanyu.settings import GuanYuSettings, exchange_period
from flwr_byzantine.protocols.guanyu.worker import GuanYuWorker

__all__ = [
    "Action",
    "Aggregate",
    "Aggregated",
    "Arrived",
    "CatchUp",
    "Compute",
    "Computed",
    "Contract",
    "Contracted",
    "Event",
    "GuanYuServer",
    "GuanYuSettings",
    "GuanYuWorker",
    "Kind",
    "Last",
    "Memory",
    "Message",
    "ModelFilters",
    "Phase",
    "Reason",
    "Refused",
    "Role",
    "Send",
    "Verdict",
    "exchange_period",
]
