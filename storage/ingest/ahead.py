"""Reading ahead: a thread prepares the next items while the caller works on the last one."""

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

T = TypeVar("T")
_PATIENCE_SECONDS = 0.1


def read_ahead(items: Iterator[T], count: int) -> Iterator[T]:
    """The same items in the same order, of which up to `count` are prepared in advance.

    An error of `items` is raised here, after the items before it. Leaving early stops the thread.
    """
    ready: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(maxsize=count)
    left = threading.Event()

    def put(entry: tuple[T | None, BaseException | None, bool]) -> None:
        while not left.is_set():
            try:
                return ready.put(entry, timeout=_PATIENCE_SECONDS)
            except queue.Full:
                continue

    def prepare() -> None:
        try:
            for item in items:
                put((item, None, False))
                if left.is_set():
                    return
            put((None, None, True))
        except BaseException as error:  # noqa: BLE001 (raised again by the caller's thread)
            put((None, error, True))

    thread = threading.Thread(target=prepare, name="read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error, last = ready.get()
            if error is not None:
                raise error
            if last:
                return
            assert item is not None
            yield item
    finally:
        left.set()
        thread.join()
