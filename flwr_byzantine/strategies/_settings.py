"""What a robust strategy may be told: each argument is held against the rule before the first round."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flwr_byzantine.strategies._weighing import takes_counts

if TYPE_CHECKING:
    from flwr_byzantine.strategies.robust import RobustStrategy

__all__ = ["check_settings", "f_to_tolerate", "wrong"]


def wrong(strategy: RobustStrategy, text: str) -> ValueError:
    """A caller's mistake, with the name of the strategy that it was made with."""
    return ValueError(f"{type(strategy).__name__}: {text}")


def f_to_tolerate(strategy: RobustStrategy, stated: int | None) -> int:
    """The number of Byzantine nodes that was stated, or that its rule binds.

    Raises:
        ValueError: If there is none, or the rule needs what no round can give it.
    """
    rule = strategy.rule
    f = rule.f if stated is None else stated
    if rule.own_row:
        raise wrong(strategy, f"the rule {rule} is for a peer among neighbours: input 0 is its own; no reply is")
    counted = strategy.example_counts == "clip" and takes_counts(rule)
    missing = rule.needs - strategy.provides - ({"counts"} if counted else set())
    if missing:
        hint = "bind it, or set example_counts='clip'" if takes_counts(rule) else "bind it"
        raise wrong(strategy, f"the rule {rule} needs {', '.join(sorted(missing))}; {hint}")
    if f is None:
        raise wrong(strategy, f"num_malicious_nodes is needed, since the rule {rule} binds no f")
    if f < 0:
        raise wrong(strategy, f"num_malicious_nodes must be at least 0, got {f}")
    return f


def check_settings(strategy: RobustStrategy) -> None:
    """Raise a ValueError if an argument is out of range or does not go with the rule."""
    rule, f = strategy.rule, strategy.num_malicious_nodes
    if strategy.on_shortfall not in ("keep", "raise"):
        raise wrong(strategy, f"on_shortfall must be 'keep' or 'raise', got {strategy.on_shortfall!r}")
    if strategy.quorum is not None and strategy.quorum < rule.min_inputs(f):
        needed = f"{rule.min_inputs(f)} replies ({rule.bound}) that {rule} needs for f = {f}"
        raise wrong(strategy, f"quorum = {strategy.quorum} is less than the {needed}")
    if strategy.grace_s < 0:
        raise wrong(strategy, f"grace_s must be at least 0, got {strategy.grace_s}")
    if strategy.example_counts not in ("ignore", "clip"):
        raise wrong(strategy, f"example_counts must be 'ignore' or 'clip', got {strategy.example_counts!r}")
    if strategy.example_counts == "clip" and not (rule.averages or takes_counts(rule)):
        raise wrong(strategy, f"{rule} neither averages what it selects nor has a weighted form for example counts")
    if not strategy.max_count_ratio > 0:
        raise wrong(strategy, f"max_count_ratio must be positive, got {strategy.max_count_ratio}")
