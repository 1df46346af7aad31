"""The frame of a job: its log, and errors that a person can read."""

from __future__ import annotations

import atexit
import contextlib
import gc
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator

from braid.common.errors import BraidError

_MANY = 50_000
"""New objects between two searches for cycles."""


@contextlib.contextmanager
def job_log(path: str | os.PathLike[str]) -> Iterator[None]:
    """Send what a job prints to its log; end it with one sentence if its input is wrong.

    Standard output and error, logging and warnings go to the log, including what C libraries
    write. A `BraidError` becomes its message on the real standard error and exit status 1; any
    other exception keeps its traceback, in the log and on the real standard error.

    Python searches for cycles more rarely in a job: the objects of what it imported so far are
    left out, and others are looked at when there are many.

    Parameters
    ----------
    path : path-like
        The log file; its folder is made.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    terminal = os.dup(2)
    started = time.monotonic()
    thresholds = gc.get_threshold()
    # a library as large as PyTorch is searched several times while it is imported
    gc.set_threshold(_MANY, *thresholds[1:])
    gc.freeze()
    with open(path, "w", encoding="utf-8") as log:
        sys.stdout.flush()
        sys.stderr.flush()
        saved = os.dup(1)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s", force=True)
        logging.captureWarnings(True)
        warnings.simplefilter("default")
        failure = ""
        try:
            yield
            print(f"done in {time.monotonic() - started:.1f} s", flush=True)
        except BraidError as error:
            failure = f"braid: {error}"
            print(failure, file=sys.stderr, flush=True)
        except BaseException:
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os.dup2(saved, 1)
            os.dup2(terminal, 2)
            os.close(saved)
            os.close(terminal)
            gc.set_threshold(*thresholds)
    if failure:
        print(failure, file=sys.stderr, flush=True)
        sys.exit(1)


def end_job() -> None:
    """End the process of a job that is done, as its script's last statement.

    Python takes apart all modules before a process ends, which takes longer for PyTorch's than
    a small network takes to run. Handlers that run at exit are run.
    """
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
