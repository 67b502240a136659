"""A session's state as a mapping that remembers what was read and what was changed.

Nothing is written until the store saves the session, as with Django's own sessions. Assign to a key to change it:
a value that was read and then mutated in place is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from sessions_dynamo.errors import StateConflict, StorageError
from sessions_dynamo.store import values


@dataclass(frozen=True, slots=True)
class Spilled:
    """Where a value too large for the session's own item is kept: its item, size in bytes and ``ttl`` (epoch s)."""

    item_id: str
    size: int
    ttl: int


Entry = str | Spilled
"""A key as it is stored: its JSON text, or where that text is."""


@dataclass(frozen=True, slots=True)
class Changes:
    """One unit of work: new texts by key, removed keys, and for keys that were read what they must still hold."""

    texts: Mapping[str, str] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    expected: Mapping[str, Entry | None] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.texts or self.removed)

    @property
    def keys(self) -> list[str]:
        return sorted({*self.texts, *self.removed})


Fetch = Callable[[Spilled], str]
"""Reads the JSON text of a spilled value."""


def changed_meanwhile(keys: Iterable[str]) -> StateConflict:
    """The error for keys that a unit of work had read and that another has changed since."""
    return StateConflict(
        f"Another call changed {', '.join(map(repr, keys))} meanwhile, so nothing was saved: read again and retry."
    )


def refuse(spilled: Spilled) -> str:
    """The ``Fetch`` of a state that reads nothing by itself; raises ``StorageError``."""
    raise StorageError(
        f"A value of {spilled.size} bytes is kept apart from its session, and this state cannot ask DynamoDB for it:"
        " read it first, and supply its text to the state."
    )


class State(MutableMapping[str, Any]):
    """The state of one session, for one unit of work; not shared between threads.

    Reading a spilled value costs one GetItem, unless its text was supplied. A bad key or value raises
    ``InvalidState`` at the assignment.
    """

    def __init__(self, entries: Mapping[str, Entry] | None = None, fetch: Fetch = refuse) -> None:
        self._entries: dict[str, Entry] = dict(entries or {})
        self._fetch = fetch
        self._fetched: dict[str, str] = {}  # By the item of each.
        self._changed: dict[str, str | None] = {}
        self._read: set[str] = set()

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What is stored, as it was loaded: changes not yet saved are not in it."""
        return self._entries

    @property
    def changes(self) -> Changes:
        """What ``SessionStore.save`` will write."""
        return Changes(
            texts={key: text for key, text in self._changed.items() if text is not None},
            removed=frozenset(key for key, text in self._changed.items() if text is None),
            expected={key: self._entries.get(key) for key in self._changed if key in self._read},
        )

    def saved(self, entries: Mapping[str, Entry], fetch: Fetch) -> None:
        """Begin the next unit of work from what is stored now."""
        self._entries, self._fetch = dict(entries), fetch
        self._fetched.clear()
        self.discard()

    def discard(self) -> None:
        """Forget every change that was not saved."""
        self._changed.clear()
        self._read.clear()

    def continue_in(self, other: State) -> None:
        """Go on with this unit of work in another state of the same session: what was changed is changed there.

        Raises ``StateConflict`` for a key that was read here and is another there.
        """
        if stale := sorted(key for key in self._read if self._entries.get(key) != other._entries.get(key)):
            raise changed_meanwhile(stale)
        other._read |= self._read
        other._changed |= self._changed

    def stored_text(self, key: str) -> str | None:
        """The JSON text of a key exactly as it is stored; ``None`` where it is not. A spilled one costs a request."""
        entry = self._entries.get(key)
        return self._fetch(entry) if isinstance(entry, Spilled) else entry

    def spilled(self, key: str) -> Spilled | None:
        """What has to be read before this key can be got; ``None`` where getting it costs no request."""
        entry = self._entries.get(key)
        if key in self._changed or not isinstance(entry, Spilled) or entry.item_id in self._fetched:
            return None
        return entry

    def supply(self, spilled: Spilled, text: str) -> None:
        """Take the JSON text of a spilled value that was read elsewhere, so that getting it costs no request.

        By the value, not by its key: the key may hold another by the time that the text is there.
        """
        self._fetched[spilled.item_id] = text

    def __getitem__(self, key: str) -> Any:
        if key in self._changed:
            text = self._changed[key]
            if text is None:
                raise KeyError(key)
            return values.loads(text)
        self._read.add(key)
        entry = self._entries[key]
        if isinstance(entry, Spilled):
            if entry.item_id not in self._fetched:
                self.supply(entry, self._fetch(entry))
            entry = self._fetched[entry.item_id]
        return values.loads(entry)

    def __setitem__(self, key: str, value: Any) -> None:
        self._changed[values.check_key(key)] = values.dumps(value)

    def __delitem__(self, key: str) -> None:
        if key not in self:
            raise KeyError(key)
        self._changed[key] = None

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        if key in self._changed:
            return self._changed[key] is not None
        self._read.add(key)
        return key in self._entries

    def __iter__(self) -> Iterator[str]:
        changed = self._changed
        yield from (key for key in self._entries if changed.get(key, "") is not None)
        yield from (key for key, text in changed.items() if text is not None and key not in self._entries)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        # Values are the client's: they belong in no log line.
        return f"<State: {len(self)} keys, {len(self._changed)} changed>"
