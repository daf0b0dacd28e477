"""Telling consumers that there is something to read, without their asking the file all the time."""

import asyncio
from pathlib import Path
from weakref import WeakValueDictionary


class Wakes:
    """The consumers of one file in this process, whichever broker objects they come from."""

    def __init__(self) -> None:
        """Know nobody."""
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    def listen(self, event: asyncio.Event) -> None:
        """Set this event at each change from now on; called in the event's loop."""
        self._listeners[event] = asyncio.get_running_loop()

    def forget(self, event: asyncio.Event) -> None:
        """Leave this event alone."""
        self._listeners.pop(event, None)

    def notify(self) -> None:
        """Say that the file has changed."""
        here = asyncio.get_running_loop()
        for event, loop in list(self._listeners.items()):
            if loop is here:
                event.set()
            elif loop.is_closed():
                self.forget(event)
            else:
                loop.call_soon_threadsafe(event.set)


_wakes_of: WeakValueDictionary[Path, Wakes] = WeakValueDictionary()


def wakes_of(path: Path) -> Wakes:
    """Return the wakes of a file; the same for all in this process."""
    return _wakes_of.setdefault(path, Wakes())
