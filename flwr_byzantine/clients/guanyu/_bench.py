"""A node's own work, done in its own store: the median of models, the rule over gradients, the step.

Every result lies under a key that nothing else is ever written to, so that what is done twice, because the store was
away in between, touches no model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from flwr_byzantine.clients._scratch import Scratch, checked_gradient
from flwr_byzantine.clients.functions import BatchGradient
from flwr_byzantine.clients.guanyu.config import GuanYuConfig
from flwr_byzantine.protocols.guanyu import GuanYuSettings, Message
from flwr_byzantine.stores import TensorStore, script, sgd_step

__all__ = ["Bench", "GradientOf"]

GradientOf = Callable[[Tensor, int], Tensor | BatchGradient]


@dataclass
class Bench(Scratch):
    """The tensors of one node.

    Args:
        store: The node's own.
        config: The step sizes.
        settings: The rules.
    """

    store: TensorStore
    config: GuanYuConfig
    settings: GuanYuSettings
    model: str = ""
    """The key of the model that one is at."""
    kept: dict[str, int] = field(default_factory=dict)
    number: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def stepped(self, step: int, gradients: Sequence[Message]) -> str:
        """The key of one's own model after a step along what the rule makes of the gradients, in the database."""
        aggregate, to = self.key("aggregate", step), self.key("model", step)
        self.store.run(script(self.settings.gradient_rule), [each.value for each in gradients], to=aggregate)
        self.store.run(sgd_step(self.config.rate(step)), [self.model, aggregate], to=to)
        return to

    def median(self, step: int, models: Sequence[Message]) -> str:
        """The key of what the model rule makes of models, in the database."""
        to = self.key("model", step)
        self.store.run(script(self.settings.model_rule), [each.value for each in models], to=to)
        return to

    def gradient(self, step: int, model: str, function: GradientOf) -> str:
        """The key of the gradient at a model, by the user's function.

        Raises:
            TypeError: If the function gives something else.
            ValueError: If what it gives does not fit the model, or is not finite.
        """
        at = self.store.get(model)
        found = function(at.clone(), step)
        value = found.gradient if isinstance(found, BatchGradient) else found
        return self.put("gradient", step, checked_gradient(value, at, kinds="a tensor or a BatchGradient"))

    def tidy(self, step: int) -> None:
        """Delete what was needed before a step, but not the model that one is at."""
        self.delete_before(step, {self.model})
