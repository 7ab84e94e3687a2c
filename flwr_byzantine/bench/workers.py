"""The nodes of a cell: what each trains on, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import Mod
from torch import Tensor, nn

from flwr_byzantine.attacks import backdoor, label_flip
from flwr_byzantine.bench.cells import Training
from flwr_byzantine.bench.partition import deal
from flwr_byzantine.bench.tasks import Examples, Task

__all__ = ["Worker", "client_app", "workers_of"]


class Worker:
    """Takes mini-batch steps with a momentum of its own, which lasts from round to round.

    Args:
        task: Its loss.
        examples: Its own.
        training: Batch, rates and steps.
        seed: Of its batches.
    """

    def __init__(self, task: Task, examples: Examples, training: Training, *, seed: int) -> None:
        self._loss, self._examples, self._training = task.loss, examples, training
        self._draws = torch.Generator().manual_seed(seed)
        self._momenta: list[Tensor] = []

    def train(self, network: nn.Module) -> float:
        """Take the steps of a round in place; the mean loss."""
        how, total = self._training, 0.0
        parameters = [p for p in network.parameters() if p.requires_grad]
        self._momenta = self._momenta or [torch.zeros_like(p) for p in parameters]
        for _ in range(how.local_steps):
            rows = torch.randint(len(self._examples), (how.batch_size,), generator=self._draws)
            batch = self._examples[rows]
            network.zero_grad()
            loss = self._loss(network(batch.inputs), batch.labels)
            loss.backward()  # type: ignore[no-untyped-call]
            self._step(parameters)
            total += float(loss.detach())
        return total / how.local_steps

    @torch.no_grad()
    def _step(self, parameters: list[nn.Parameter]) -> None:
        how = self._training
        for p, m in zip(parameters, self._momenta, strict=True):
            gradient = torch.zeros_like(p) if p.grad is None else p.grad
            m.mul_(how.momentum).add_(gradient + how.weight_decay * p, alpha=1 - how.momentum)
            p.sub_(m, alpha=how.learning_rate)


def workers_of(
    task: Task, training: Training, f: int, *, heterogeneity: str, data_attack: str, seed: int
) -> list[Worker]:
    """The honest workers, who share the data, then ``f`` Byzantine ones, each with a copy of an honest share.

    Args:
        task: What is learnt.
        training: How.
        f: Byzantine workers.
        heterogeneity: As :func:`~flwr_byzantine.bench.deal` takes it.
        data_attack: What becomes of the Byzantine workers' data: ``label-flip``, ``backdoor``, or "" for nothing.
        seed: Of shares and batches.
    """
    shares = deal(heterogeneity, task.train.labels, training.honest, seed=seed)
    made = []
    for number in range(training.honest + f):
        examples = task.train[shares[number % training.honest]]
        if number >= training.honest:
            examples = _poisoned(examples, task, data_attack, seed=seed + number)
        made.append(Worker(task, examples, training, seed=1_000_003 * seed + number))
    return made


def _poisoned(examples: Examples, task: Task, attack: str, *, seed: int) -> Examples:
    if attack == "label-flip":
        return Examples(examples.inputs, label_flip(examples.labels, num_classes=task.classes))
    if attack == "backdoor":
        draws = torch.Generator().manual_seed(seed)
        return Examples(*backdoor(examples.inputs, examples.labels, target=0, fraction=0.5, generator=draws))
    return examples


def client_app(
    task: Task, workers: Sequence[Worker], numbers: Mapping[int, int], *, mods: Sequence[Mod] = ()
) -> ClientApp:
    """The app of all nodes: the trained model in reply to the model.

    Args:
        task: Its network.
        workers: By number; nodes of higher numbers only echo, for an adversary to replace what they say.
        numbers: By node id, the number of its worker; may be filled until the first message.
        mods: Flower's.
    """
    app, network = ClientApp(mods=list(mods)), task.new_network(0)

    @app.train()
    def train(message: Message, context: Context) -> Message:
        arrays, number = message.content.array_records["arrays"], numbers[context.node_id]
        if number >= len(workers):
            return _reply(message, arrays, 0.0)
        network.load_state_dict(arrays.to_torch_state_dict())
        loss = workers[number].train(network)
        return _reply(message, ArrayRecord(network.state_dict()), loss)

    return app


def _reply(message: Message, arrays: ArrayRecord, loss: float) -> Message:
    metrics = MetricRecord({"train-loss": loss, "num-examples": 1})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)
