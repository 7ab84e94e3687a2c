"""Attacks by Byzantine parameter servers: what each of them sends to each receiver, and when it arrives.

A :class:`ServerAttack` makes of what the liars know (:class:`ServerView`) the one model that one of them sends to one
receiver, or None for silence. It changes nothing it is given.

    >>> view = ServerView(torch.tensor([[1.0], [3.0]]), receiver=0)
    >>> SERVER_ATTACKS["reversed"](view)
    tensor([-200.])
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from flwr_byzantine.attacks._attack import mean_row, std_row
from flwr_byzantine.rules._random import normal

__all__ = ["SERVER_ATTACKS", "ServerAttack", "ServerView", "byzantine_first"]

GARFIELD = "Guirguis et al. (Garfield), DSN 2021, arXiv:2010.05888"


@dataclass(frozen=True)
class ServerView:
    """What the Byzantine servers of a step know: everything, as published attacks assume.

    Args:
        honest: ``[h, d]``, the honest servers' models of this step.
        receiver: The number of the node that this is for, ``>= 0``.
        past: ``[d]`` each, the mean honest model of earlier steps, oldest first.
        seed: For attacks that draw; the same for all receivers of a step.
    """

    honest: Tensor
    receiver: int = 0
    past: Sequence[Tensor] = ()
    seed: int = 0


@dataclass(frozen=True)
class ServerAttack:
    """What one Byzantine server sends to one receiver.

    Args:
        name: In kebab-case.
        source: Where it is from.
        function: From the view to ``[d]`` or None.
        arrives: Whether its messages come before all honest ones, among them, or after them.

    Example:
        >>> byzantine_first(SERVER_ATTACKS["zero"]).arrives
        'first'
    """

    name: str
    source: str
    function: Callable[[ServerView], Tensor | None]
    arrives: Literal["first", "among", "last"] = "among"

    def __call__(self, view: ServerView) -> Tensor | None:
        """``[d]`` of the honest models' dtype, which shares no memory with them, or None: nothing is sent.

        Raises:
            ValueError: If the honest models are not a floating-point matrix of at least one row.
        """
        honest = view.honest
        if honest.ndim != 2 or not honest.is_floating_point() or honest.shape[0] == 0:
            raise ValueError(
                f"server attack {self.name} needs the honest models as a floating-point matrix [h, d] with h >= 1, "
                f"got {honest.dtype} {list(honest.shape)}"
            )
        made = self.function(view)
        return None if made is None else made.to(honest.dtype).clone()

    def __str__(self) -> str:
        return self.name


def byzantine_first(attack: ServerAttack) -> ServerAttack:
    """The same attack under a scheduler that delivers Byzantine messages before all others, to everybody.

    Example:
        >>> byzantine_first(SERVER_ATTACKS["reversed"]).name
        'reversed, delivered first'
    """
    return replace(attack, name=f"{attack.name}, delivered first", arrives="first")


def _random(view: ServerView) -> Tensor:
    return normal(view.honest, view.honest.shape[1], view.seed)


def _partial_drop(view: ServerView, share: float = 0.3) -> Tensor:
    """Garfield's default share. It meant to drop, and did nothing: its mask was thrown away."""
    draws = torch.rand(view.honest.shape[1], generator=torch.Generator().manual_seed(view.seed))
    return torch.where((draws < share).to(view.honest.device), 0.0, mean_row(view.honest))


def _stale(view: ServerView, steps: int = 10) -> Tensor:
    """The model of ``steps`` steps ago, or the oldest that there is."""
    return view.past[max(0, len(view.past) - steps)] if view.past else mean_row(view.honest)


def _equivocation(view: ServerView, scale: float = 1.0) -> Tensor:
    """Half of the receivers are pulled one way and half the other, by the length of the model."""
    centre = mean_row(view.honest)
    direction = normal(view.honest, centre.shape[0], view.seed).to(torch.float64)
    length = float(centre.norm() / direction.norm().clamp(min=1e-30))
    return centre + (scale if view.receiver % 2 == 0 else -scale) * length * direction


def _alie(view: ServerView, z: float = 1.5) -> Tensor:
    """The median's worst case: within the honest models' spread, on the same side in every coordinate."""
    return mean_row(view.honest) + z * std_row(view.honest)


def _backwards(view: ServerView, scale: float = 3.0) -> Tensor:
    """Back to where training came from, three times the way from the model of two steps ago.

    One step ago would be no way at all where models go to workers: they start from where the last step ended.
    """
    centre = mean_row(view.honest)
    return centre - scale * (centre - view.past[-2:][0].to(torch.float64)) if view.past else centre


SERVER_ATTACKS: dict[str, ServerAttack] = {
    each.name: each
    for each in (
        ServerAttack("random", GARFIELD, _random),
        ServerAttack("reversed", GARFIELD, lambda view: -100.0 * mean_row(view.honest)),
        ServerAttack("partial-drop", GARFIELD, _partial_drop),
        ServerAttack("zero", "this package", lambda view: torch.zeros_like(view.honest[0])),
        ServerAttack("nan", "this package", lambda view: torch.full_like(view.honest[0], torch.nan)),
        ServerAttack("stale", "this package", _stale),
        ServerAttack("equivocation", "Lamport, Shostak and Pease, TOPLAS 1982", _equivocation),
        ServerAttack("silent", "this package: a crashed server", lambda view: None),
        ServerAttack("slow", "this package: a straggler", lambda view: mean_row(view.honest), arrives="last"),
        ServerAttack("alie", "Baruch et al., NeurIPS 2019, arXiv:1902.06156, on models", _alie),
        ServerAttack("backwards", "this package", _backwards),
    )
}
"""Server attacks by name; :func:`byzantine_first` makes each worse."""
