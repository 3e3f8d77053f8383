"""Reading ahead: threads prepare the next items while the caller works on the last one."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Made = TypeVar("Made")
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


def made_ahead(make: Callable[[T], Made], items: Iterator[T], count: int) -> Iterator[Made]:
    """What is made of each item, in the order of the items; up to `count` are made side by side.

    An error of `make` is raised in its place. Leaving early waits for those being made.
    """
    with ThreadPoolExecutor(count, thread_name_prefix="made-ahead") as pool:
        making: deque[Future[Made]] = deque()
        for item in items:
            making.append(pool.submit(make, item))
            if len(making) >= count:
                yield making.popleft().result()
        while making:
            yield making.popleft().result()
