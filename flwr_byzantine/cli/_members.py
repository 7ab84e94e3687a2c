"""The table of members, read again when its file changes: a peer is added without a restart."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from flwr_byzantine.cli._node_file import Listed
from flwr_byzantine.cli._node_stores import reader
from flwr_byzantine.cli._peer_file import PeerFile

if TYPE_CHECKING:
    from flwr_byzantine.clients.peer import Peer

__all__ = ["MembersFile"]

log = logging.getLogger("flwr_byzantine.peer")


class MembersFile:
    """What is new in the table of members, made known to a running peer.

    Args:
        file: As it was when the peer began.
    """

    def __init__(self, file: PeerFile) -> None:
        self._file = file
        self._known = {listed.peer: listed for listed in file.others}
        self._unasked: set[str] = set()
        self._seen = self._mark()

    def attend(self, peer: Peer) -> None:
        """Introduce members that were added or moved, and vote for those that have asked to join by now."""
        for listed in self._changed():
            peer.introduce(listed.peer, reader(listed, timeout_s=self._file.training.answer_s))
            if listed.peer not in self._known:
                self._unasked.add(listed.peer)
            self._known[listed.peer] = listed
            log.info("%s: peer %s is in the table of members now", self._file.node.name, listed.peer[:8])
        candidates = peer.status()["candidates"] if self._unasked else []
        for candidate in self._unasked.intersection(candidates):
            self._unasked.discard(candidate)
            peer.sponsor(candidate)  # the request goes before the votes: with it comes the key
            peer.approve(candidate)

    def _changed(self) -> list[Listed]:
        """Entries that were not so at the last look. A mistake in the file is logged, once."""
        mark = self._mark()
        if mark == self._seen:
            return []
        self._seen = mark
        try:
            others = PeerFile.load(self._file.node.file).others
        except (OSError, ValueError) as error:
            log.warning("%s: the table of members stays as it was: %s", self._file.node.name, error)
            return []
        return [listed for listed in others if self._known.get(listed.peer) != listed]

    def _mark(self) -> tuple[int, int] | None:
        """What changes when the file does; None while it is not there."""
        try:
            found = os.stat(self._file.node.file)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino
