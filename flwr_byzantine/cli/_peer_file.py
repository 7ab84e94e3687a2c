"""``peer.toml``: what a peer without Flower is told, checked as a whole before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flwr_byzantine.cli._node_file import Listed, NodeFile, listed, tables_of
from flwr_byzantine.cli._table import Table
from flwr_byzantine.clients.peer import PeerConfig

__all__ = ["PeerFile"]

TABLES: dict[str, type] = {
    **dict.fromkeys(("metrics", "peer", "ring", "status", "store", "task", "training"), dict),
    "members": list,
}


@dataclass(frozen=True)
class PeerFile:
    """All that is in the file."""

    node: NodeFile
    """What a peer and a node of GuanYu have in common: key, keyring, store, task, status."""
    members: tuple[Listed, ...]
    training: PeerConfig
    join: bool = False
    address: str = ""
    """Where others reach the store: what a newcomer tells them."""

    @property
    def others(self) -> tuple[Listed, ...]:
        """The members but this peer: all may have the same table."""
        return tuple(listed for listed in self.members if listed.peer != self.node.key.peer)

    @property
    def own_url(self) -> str:
        """Of the own store as others read it, if the table of members says; else empty."""
        return next((listed.url for listed in self.members if listed.peer == self.node.key.peer), "")

    @classmethod
    def load(cls, path: Path) -> PeerFile:
        """The file's content.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If something in it is not as it must be; the message names file, table and key.
        """
        file, content = tables_of(path, TABLES)
        own = Table(file, "[peer]", content.get("peer", {}))
        node = NodeFile.of(own, content)
        made = cls(
            node,
            members=_members(node, content.get("members", [])),
            training=_training(file, content.get("training", {})),
            join=own.given("join", bool) or False,
            address=own.given("address", str) or "",
        )
        own.end()
        if made.join and not made.address:
            raise own.mistake("address", "is missing: a peer that joins tells the others where its store is")
        return made


def _training(file: Path, settings: Mapping[str, Any]) -> PeerConfig:
    try:
        config = PeerConfig.from_mapping(settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file}: [training] {error}") from error
    if {"stay-s", "stay_s"} & settings.keys():
        return config
    return replace(config, stay_s=config.suspect_after_s)  # the store ends with this process: others read it until then


def _members(node: NodeFile, entries: list[Any]) -> tuple[Listed, ...]:
    seen: dict[str, Listed] = {}
    for place, member in enumerate(listed(node, "members", entries), start=1):
        if member.peer in seen:
            raise ValueError(f"{node.file}: [[members]] number {place}: peer {member.peer[:8]} is there once more")
        seen[member.peer] = member
    return tuple(seen.values())
