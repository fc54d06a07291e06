"""A fresh interpreter for each job: the child that has taken one becomes it, so that the code on disk now is what runs.

It stays the same process, with its slot, its group, its parent and what that has wished of the system. It
inherits the environment, and with it the name of the settings; all else arrives over an inherited descriptor, whose
number is the one thing on its command line.

`marshal` never meets stored data here: both ends are one process.
"""

from __future__ import annotations

import marshal
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn

import django

from ..logs import get_logger
from .interrupts import STOPPING
from .memory import shared_file

if TYPE_CHECKING:
    from .child import Child

logger = get_logger("worker")

_START = (
    "import marshal, sys; order = open(int(sys.argv[1]), 'rb'); sys.path[:] = marshal.load(order); "
    "from django_jobs.worker.fresh import main; main(marshal.load(order))"
)
UNKNOWN_TIMEOUT = 300.0
"""Within how many seconds it has to start. The job's own timeout begins when its handler does."""


def become_fresh(child: Child, kind: int, content: Any) -> NoReturn:
    """Become a fresh interpreter that does what the message says, and ends. Until it has come up, an end of this
    process is not the job's fault.
    """
    now, number = time.monotonic(), _number(content)
    child.slots.begin(child.slot, number, now, now + UNKNOWN_TIMEOUT)
    order = {
        "argv": sys.argv,
        "slot": (child.slot, child.slots.count, child.slots.fd),
        "outbox": child.outbox.fileno(),
        "parent": child.parent,
        "backend": child.terms.store.alias if child.terms.store is not None else None,
        "message": (kind, content),
    }
    data = marshal.dumps(sys.path) + marshal.dumps(order)
    fd = shared_file(len(data))
    os.pwrite(fd, data, 0)
    for each in (fd, child.slots.fd, child.outbox.fileno()):
        os.set_inheritable(each, True)
    for stopping in STOPPING:
        signal.signal(stopping, signal.SIG_IGN)  # until it can take care of them itself
    try:
        os.execv(sys.executable, [sys.executable, *_flags(), "-c", _START, str(fd)])  # noqa: S606 - there is no shell
    except OSError as error:
        logger.error("%s: %s", sys.executable, error.strerror)  # the pool says the rest
        os._exit(os.EX_OSERR)


def _number(content: Any) -> int:
    """Of the hooks, or of the one job in a message."""
    return int(content[0] if isinstance(content, tuple) else content[0][0])


def _flags() -> list[str]:
    """Those of this interpreter that matter to the code of a site."""
    options = [name if value is True else f"{name}={value}" for name, value in sys._xoptions.items()]
    optimize = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    return [*optimize, *(f"-X{option}" for option in options), *(f"-W{option}" for option in sys.warnoptions)]


def main(order: dict[str, Any]) -> NoReturn:
    """In the fresh interpreter: load the site, do what the message says, and end."""
    from ..backends import get_backend
    from .channel import Port
    from .child import Child
    from .interrupts import ignore_stop_signals
    from .output import make_lasting
    from .slots import Slots
    from .terms import Terms

    ignore_stop_signals()
    make_lasting()
    slot, count, fd = order["slot"]
    outbox = Port(socket.socket(fileno=order["outbox"]))
    kind, content = order["message"]
    status = os.EX_SOFTWARE
    try:
        if os.getppid() != order["parent"]:
            os._exit(os.EX_UNAVAILABLE)
        sys.argv[:] = order["argv"]
        slots = Slots(count, fd)
        slots.enter(slot, _number(content))
        child = Child(slots, outbox, outbox, order["parent"], Terms("spawn"), slot)
        try:
            django.setup()
            child.terms = replace(child.terms, store=get_backend(order["backend"]))
        except BaseException as error:
            child.give_up(kind, content, error)
        else:
            child.serve(kind, content)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(status)
