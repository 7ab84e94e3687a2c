"""What goes with the models of one message to a worker: whose they are, in which order they came, and the numbers.

And what a worker of the synchronous version says of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flwr_byzantine.protocols.guanyu.settings import GuanYuSettings
from flwr_byzantine.rules import Aggregator, mean, median

__all__ = ["ANSWERS", "RECORD", "Choice", "Delivery"]

RECORD = "guanyu"
"""Name of the record that holds a :class:`Delivery`, and in the reply a :class:`Choice`; a message without it is none
of GuanYu's."""

ANSWERS = ("model", "gradient")
"""What a worker's function may return."""

NUMBERS = ("n", "f", "m", "f_w", "q", "q_w", "exchange_every", "strict", "synchronous")


@dataclass(frozen=True)
class Delivery:
    """The models that reached one worker in one step.

    Args:
        step: The step, from 1.
        senders: The servers from which a model came, first to last.
        models: Beside each sender, the name of its model: equal models have one name, and are carried once.
        servers: All servers' names, the silent ones' too.
        answer: What the worker's function returns, one of :data:`ANSWERS`.
        settings: The numbers.
        rate: The step size of this step, by which a worker of the synchronous version guesses the next model.
    """

    step: int
    senders: tuple[str, ...]
    models: tuple[str, ...]
    servers: tuple[str, ...]
    answer: str
    settings: GuanYuSettings
    rate: float = 1.0

    def as_config(self) -> dict[str, Any]:
        """The same as numbers, texts and lists of texts.

        Example:
            >>> settings = GuanYuSettings(3, 0, 3, 0)
            >>> delivery = Delivery(1, ("a", "b"), ("x", "x"), ("a", "b", "c"), "model", settings)
            >>> Delivery.of(delivery.as_config()) == delivery
            True
        """
        numbers = {name: getattr(self.settings, name) for name in NUMBERS}
        lists = {name: list(getattr(self, name)) for name in ("senders", "models", "servers")}
        return {"step": self.step, "answer": self.answer, "rate": self.rate, **lists, **numbers}

    @classmethod
    def of(cls, config: Mapping[str, Any], model_rule: Aggregator = median) -> Delivery:
        """Read it back.

        Args:
            config: What :meth:`as_config` made.
            model_rule: What the worker makes of the models.

        Raises:
            ValueError: If something is missing, of another type, or breaks a bound.
        """
        try:
            numbers = {name: config[name] for name in NUMBERS}
            lists = [tuple(str(each) for each in config[name]) for name in ("senders", "models", "servers")]
            step, answer, rate = int(config["step"]), str(config["answer"]), float(config["rate"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"GuanYu: the message's record {RECORD!r} is not whole: {error!r}") from None
        if answer not in ANSWERS or len(lists[0]) != len(lists[1]):
            raise ValueError(f"GuanYu: answer is one of {ANSWERS} and models go with senders, got {dict(config)}")
        # Gradients are the servers' concern: the mean stands for whatever rule they have.
        settings = GuanYuSettings(**numbers, model_rule=model_rule, gradient_rule=mean)
        return cls(step, lists[0], lists[1], lists[2], answer, settings, rate)


@dataclass(frozen=True)
class Choice:
    """What a worker of the synchronous version made of the models of one step.

    Args:
        server: Whose model it computed at; empty for the median of a quorum.
        rejected: By server, why its model was left.
    """

    server: str
    rejected: Mapping[str, str]

    def as_config(self) -> dict[str, Any]:
        """The same as texts and lists of texts."""
        return {"server": self.server, "rejected": list(self.rejected), "reasons": list(self.rejected.values())}

    @classmethod
    def of(cls, config: Mapping[str, Any], servers: Sequence[str]) -> Choice:
        """Read it back; a worker may lie, but only of servers that there are, and of each once.

        Raises:
            ValueError: If it is not of this form.

        Example:
            >>> choice = Choice("server-1", {"server-0": "outliers filter"})
            >>> Choice.of(choice.as_config(), ["server-0", "server-1"]) == choice
            True
        """
        server, names, reasons = (config.get(name) for name in ("server", "rejected", "reasons"))
        if not (isinstance(server, str) and isinstance(names, list) and isinstance(reasons, list)):
            raise ValueError("it is no server and two lists")
        if (
            len(names) != len(reasons)
            or len(names) != len({*names})
            or not {*names, server or servers[0]} <= {*servers}
        ):
            raise ValueError("it names others than the servers, or one of them more than once")
        return cls(server, {name: str(reason) for name, reason in zip(names, reasons, strict=True)})
