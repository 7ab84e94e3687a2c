"""``flwr-byzantine recommend``: which rule for how many nodes and liars."""

from __future__ import annotations

import argparse
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flwr_byzantine.rules.recommend import Recommendation

__all__ = ["add_to"]

SHORT = 5
BREAKDOWN = (
    "Where honest gradients differ by B times their mean, no rule is sure to hold beyond f / n = 1 / (2 + B²), which "
    "is less than a half (Allouah et al., NeurIPS 2023, arXiv:2309.13591)."
)


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``recommend``."""
    command = commands.add_parser("recommend", help="which rule for how many nodes and liars, best first")
    command.add_argument("--nodes", type=int, required=True, metavar="N", help="how many take part")
    command.add_argument("--byzantine", type=int, required=True, metavar="F", help="how many of them may lie or crash")
    command.add_argument(
        "--heterogeneity",
        default="mild",
        metavar="HOW",
        help="how much honest nodes differ: none (cost decides), mild, or strong; default: mild",
    )
    command.add_argument(
        "--dimension", type=int, default=1_000_000, metavar="D", help="parameters of the model; default: 1000000"
    )
    command.add_argument("--all", action="store_true", help=f"all that bear so many, not the best {SHORT} only")
    command.set_defaults(run=_recommend)


def _recommend(options: argparse.Namespace) -> int:
    from flwr_byzantine.rules.recommend import CANDIDATES, recommend

    n, f = options.nodes, options.byzantine
    ranked = recommend(n, f, heterogeneity=options.heterogeneity, dimension=options.dimension)
    print(
        f"{n} nodes, {f} of which may lie; {options.dimension:.3g} parameters; heterogeneity {options.heterogeneity}."
    )
    print("The aggregate's squared error is at most kappa times the honest inputs' variance;", end=" ")
    print(f"no rule has kappa below {f / (n - 2 * f):.2g}.")
    shown = ranked if options.all else ranked[:SHORT]
    for place, each in enumerate(shown, start=1):
        print(f"\n{place}. {each.rule.name}")
        print(textwrap.indent(_words(each, f), "   "))
    bearing = {each.rule.name for each in ranked}
    left = [each.rule for each in CANDIDATES if each.rule.name not in bearing]
    print("\nUse it: RobustStrategy(rule, num_malicious_nodes=f); a [peer] or [node] file takes its name as the rule.")
    if len(shown) < len(ranked):
        print(f"{len(ranked) - len(shown)} more bear {f} of {n}: --all shows them.")
    if left:
        print(f"Not for these numbers: {', '.join(f'{rule.name} ({_why(rule.min_inputs(f), n)})' for rule in left)}.")
    if options.heterogeneity == "strong":
        print(BREAKDOWN)
    return 0


def _words(each: Recommendation, f: int) -> str:
    kappa = "not proven; rules.robustness searches the worst" if each.kappa is None else f"at most {each.kappa:.3g}"
    return "\n".join(
        [
            f"for       {each.about.when}",
            f"bound     {each.rule.min_inputs(f)} nodes suffice ({each.rule.bound})",
            f"kappa     {kappa}",
            f"cost      {each.about.cost}: about {each.operations:.1g} operations a round",
            f"minority  {each.about.minority}",
        ]
    )


def _why(needed: int, n: int) -> str:
    return f"needs {needed} nodes" if needed > n else "too many subsets to search"
