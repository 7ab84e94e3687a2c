"""Settings of a peer or node: a frozen dataclass, made of a mapping or of keywords, its values' types checked."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, Self, get_args, get_type_hints

from flwr_byzantine.clients._choose import nearest_of

__all__ = ["Settings"]


class Settings:
    """What such a dataclass inherits.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Pace(Settings):
        ...     poll_s: float = 0.1
        ...     names: tuple[str, ...] | None = None
        ...     def __post_init__(self) -> None:
        ...         self._check_types()
        >>> Pace.from_mapping({"poll-s": 1, "names": ["a", "b"]})
        Pace(poll_s=1, names=('a', 'b'))
        >>> Pace(poll_s="1")
        Traceback (most recent call last):
        ...
        TypeError: poll_s must be float, got '1'
    """

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> Self:
        """The configuration in a mapping, of a TOML file say: names with ``-`` or ``_``, a list for a tuple.

        Raises:
            TypeError: If a value is of another type.
            ValueError: If a name is unknown, with the nearest one; or a value is out of its range.
        """
        kinds = _kinds_of(cls)
        given: dict[str, Any] = {}
        for name, value in settings.items():
            field = str(name).replace("-", "_")
            if field not in kinds or field in given:
                kebab = [known.replace("_", "-") for known in kinds]
                raise ValueError(f"there is no setting {name!r}{nearest_of(str(name).replace('_', '-'), kebab)}")
            listed = tuple in kinds[field] and isinstance(value, Sequence) and not isinstance(value, str)
            given[field] = tuple(value) if listed else value
        return cls(**given)

    def _check_types(self) -> None:
        """Refuse values of another type than the field's; a whole number does for a float, a bool for itself only."""
        for name, kinds in _kinds_of(type(self)).items():
            value = getattr(self, name)
            wanted = (*kinds, int) if float in kinds else kinds
            if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
                raise TypeError(f"{name} must be {' or '.join(kind.__name__ for kind in kinds)}, got {value!r:.80}")


def _kinds_of(cls: type) -> dict[str, tuple[type, ...]]:
    """The types that each field may have."""
    hints = get_type_hints(cls)
    unions = {name: get_args(hint) if isinstance(hint, types.UnionType) else (hint,) for name, hint in hints.items()}
    return {name: tuple(getattr(kind, "__origin__", kind) for kind in union) for name, union in unions.items()}
