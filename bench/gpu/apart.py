"""Work in processes of its own: a lost device, a crash or a kernel without end takes one alone.

Processes are forked, so that nothing needs to be handed over; the parent never opens the device.
"""
from __future__ import annotations

import ctypes
import functools
import multiprocessing
import signal
import traceback
from multiprocessing.connection import Connection
from typing import Callable, Iterable, Iterator, TypeVar

T = TypeVar('T')
R = TypeVar('R')
EXIT_SECONDS = 10
PR_SET_PDEATHSIG = 1
_FORK = multiprocessing.get_context('fork')


class Died(RuntimeError):
    """The process failed, ended or hung; the text says which."""


def apart(body: Callable[[], Iterable[T]], seconds: float) -> Iterator[T]:
    """What `body` yields, item by item. Raises Died where one takes more than `seconds`."""
    receiver, sender = _FORK.Pipe(duplex=False)
    child = _FORK.Process(target=_send, args=(body, sender))
    child.start()
    sender.close()
    try:
        while receiver.poll(seconds):
            kind, item = receiver.recv()
            if kind == 'end':
                return
            if kind == 'error':
                raise Died(item)
            yield item
        child.kill()
        raise Died(f'no end after {seconds:.0f} s')
    except EOFError:
        child.join()
        raise Died(f'its process ended with code {child.exitcode}') from None
    finally:
        child.join(EXIT_SECONDS)
        child.kill()
        receiver.close()


def each_apart(items: Iterable[T], body: Callable[[T], R], seconds: float,
               given_up: Callable[[T], bool] = lambda _: False) -> Iterator[tuple[T, R | Died]]:
    """`body` of each item, all in one process; after an item that ends it in a new one.

    given_up: asked then of each item that is left; those for which it is true are left out.
    """
    left = list(items)
    while left:
        done = 0
        try:
            for result in apart(lambda: map(body, left), seconds):
                yield left[done], result
                done += 1
        except Died as error:
            yield left[done], error
        left = [item for item in left[done + 1:] if not given_up(item)]


def _send(body: Callable[[], Iterable[object]], sender: Connection) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # ends with its parent
    try:
        for item in body():
            sender.send(('item', item))
        sender.send(('end', None))
    except Exception as error:
        traceback.print_exc()
        sender.send(('error', f'{type(error).__name__}: {error}'))


def in_own_process(seconds: float) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Decorates a function: it runs apart."""
    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        @functools.wraps(function)
        def run(*args: object) -> T:
            return next(apart(lambda: [function(*args)], seconds))
        return run
    return decorate
