"""The worker: an ordinary train function. Of servers, quorums and medians it knows nothing."""

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import Tensor

from flwr_byzantine.clients import guanyu_mod
from guanyu_mnist.task import Net, load_dataset, share, train

torch.set_num_threads(1)  # workers share one machine in the simulation; more threads only fight

app = ClientApp(mods=[guanyu_mod()])


@app.train()
def train_worker(msg: Message, context: Context) -> Message:
    """Takes a few steps from the model that the mod made of the servers' models, and replies with the result."""
    config, node = context.run_config, context.node_config
    seed, partition_id = int(config["seed"]), int(node["partition-id"])
    data = load_dataset(str(node.get("data-path", config["data-path"])), seed)
    rows = share(data.train_labels, str(config["data-share"]), partition_id, int(node["num-partitions"]), seed)

    start = msg.content["arrays"].to_torch_state_dict()
    model = Net()
    model.load_state_dict(start)
    loss = train(
        model,
        data.train_images[rows],
        data.train_labels[rows],
        steps=int(config["local-steps"]),
        learning_rate=float(config["learning-rate"]),
        batch_size=int(config["batch-size"]),
        seed=hash((seed, partition_id, int(msg.content["config"]["server-round"]))) % 2**63,
    )
    change = {name: value - start[name] for name, value in model.state_dict().items()}
    change = smoothed(change, float(config["momentum"]), context)
    arrays = ArrayRecord({name: start[name] + value for name, value in change.items()})
    metrics = MetricRecord({"train-loss": loss, "num-examples": len(rows)})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=msg)


def smoothed(change: dict[str, Tensor], momentum: float, context: Context) -> dict[str, Tensor]:
    """The running mean of this worker's own changes, kept on its node: of less noise, so liars stand out more."""
    if momentum > 0:
        before = context.state["momentum"].to_torch_state_dict() if "momentum" in context.state else change
        change = {name: torch.lerp(value, before[name], momentum) for name, value in change.items()}
        context.state["momentum"] = ArrayRecord(change)
    return change
