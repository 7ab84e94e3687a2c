"""Who is a server and who a worker, and what that leaves of the tolerance."""

from __future__ import annotations

from dataclasses import dataclass, replace

from flwr_byzantine.protocols.guanyu import GuanYuSettings
from flwr_byzantine.strategies._roles_invite import Invited

__all__ = ["Roles", "deal"]


@dataclass(frozen=True)
class Roles:
    """The nodes in their roles."""

    settings: GuanYuSettings
    """With as many servers and workers as there are, and as many liars as may still be among them."""
    servers: tuple[int, ...] = ()
    """Node ids."""
    workers: tuple[int, ...] = ()


def deal(settings: GuanYuSettings, invited: Invited) -> Roles:
    """Give each node a role; those for whom there is none are left out of ``invited``.

    Nodes that want a role have it first. The others, by ascending id, are servers and then workers; if there are fewer
    than wanted, both roles first have their quorum.

    Args:
        settings: How many there should be.
        invited: Who answered, and the role that each wants.

    Raises:
        RuntimeError: If too few are there for a quorum; the message has the first one's reason.
    """
    servers = _wanting(invited, "server")[: settings.n]
    workers = _wanting(invited, "worker")[: settings.m]
    others = _wanting(invited, "")
    more = _more_servers(settings, len(servers), len(workers), len(others))
    servers += others[:more]
    workers += others[more : more + settings.m - len(workers)]
    for node in sorted(invited.seats.keys() - {*servers, *workers}):
        invited.leave_out(node, "there is no role left for it")
    _check(settings, invited, len(servers), len(workers))
    present = replace(
        settings,
        n=len(servers),
        f=max(0, settings.f - (settings.n - len(servers))),
        m=len(workers),
        f_w=max(0, settings.f_w - (settings.m - len(workers))),
    )
    return Roles(present, tuple(servers), tuple(workers))


def _wanting(invited: Invited, role: str) -> list[int]:
    return [node for node in sorted(invited.seats) if invited.roles[node] == role]


def _more_servers(settings: GuanYuSettings, servers: int, workers: int, others: int) -> int:
    """How many of the nodes that take any role become servers."""
    to_quorum = min(others, max(0, settings.q - servers))
    for_workers = max(0, settings.q_w - workers)
    return to_quorum + max(0, min(others - to_quorum - for_workers, settings.n - servers - to_quorum))


def _check(settings: GuanYuSettings, invited: Invited, servers: int, workers: int) -> None:
    if servers >= settings.q and workers >= settings.q_w:
        return
    reason = next((f"; {rejected}" for rejected in invited.rejected), "")
    raise RuntimeError(
        f"GuanYuNodes needs {settings.q} of {settings.n} servers and {settings.q_w} of {settings.m} workers, "
        f"got {servers} and {workers}{reason}"
    )
