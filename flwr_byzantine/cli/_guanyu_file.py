"""``node.toml``: what a server or worker of GuanYu is told, checked as a whole before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flwr_byzantine.attacks import ATTACKS
from flwr_byzantine.cli._node_file import Listed, NodeFile, listed, tables_of
from flwr_byzantine.cli._table import Table
from flwr_byzantine.clients.guanyu import GuanYuConfig
from flwr_byzantine.clients.peer import PeerAttack

__all__ = ["GuanYuFile"]

LISTS = ("servers", "workers")
TABLES: dict[str, type] = {
    **dict.fromkeys(("attack", "metrics", "node", "ring", "status", "store", "task", "training"), dict),
    **dict.fromkeys(LISTS, list),
}


@dataclass(frozen=True)
class GuanYuFile:
    """All that is in the file."""

    node: NodeFile
    """What a node and a peer have in common: key, keyring, store, task, status."""
    servers: tuple[Listed, ...]
    workers: tuple[Listed, ...]
    training: GuanYuConfig
    attack: PeerAttack | None = None
    """What makes the node lie, for experiments."""

    @classmethod
    def load(cls, path: Path) -> GuanYuFile:
        """The file's content.

        Raises:
            OSError: If a file cannot be read.
            ValueError: If something in it is not as it must be; the message names file, table and key.
        """
        file, content = tables_of(path, TABLES)
        own = Table(file, "[node]", content.get("node", {}))
        node = NodeFile.of(own, content)
        own.end()
        servers, workers = (tuple(listed(node, kind, content.get(kind, []))) for kind in LISTS)
        everybody = [each.peer for each in (*servers, *workers)]
        for peer in everybody:
            if everybody.count(peer) > 1:
                raise ValueError(f"{file}: [[servers]] and [[workers]] name node {peer[:8]} more than once")
        if node.key.peer not in everybody:
            raise ValueError(f"{file}: neither [[servers]] nor [[workers]] name this node, {node.key.peer[:8]}")
        training = _training(file, content.get("training", {}), len(servers), len(workers))
        attack = _attack(Table(file, "[attack]", content["attack"])) if "attack" in content else None
        return cls(node, servers, workers, training, attack)


def _training(file: Path, settings: Mapping[str, Any], servers: int, workers: int) -> GuanYuConfig:
    try:
        config = GuanYuConfig.from_mapping(settings)
        config.settings(servers, workers)
    except (TypeError, ValueError) as error:  # a bound that does not hold is a ValueError too
        raise ValueError(f"{file}: [training] {error}") from error
    return config


def _attack(table: Table) -> PeerAttack:
    name, options = table.needed("name", str), table.given("options", dict) or {}
    table.end()
    known = [each for each, attack in ATTACKS.items() if attack.knows == "own"]
    if name not in known:
        raise table.mistake("name", f"must be one of {', '.join(known)}, got {name!r:.80}")
    try:
        return PeerAttack(ATTACKS[name].bind(**options))
    except (TypeError, ValueError) as error:
        raise table.mistake("options", f"do not fit: {error}") from error
