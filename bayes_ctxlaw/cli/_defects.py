"""What is said of a defect: an error that nobody expected.

The package's own errors and the machine's become messages where commands are run
(`reports_errors`). Whatever else ends the program is a defect. Python has a place for what nobody
caught, `sys.excepthook`, and that is where it is told: nothing has to catch everything, and Ctrl-C
and exits pass by every handler as they always do.
"""

from __future__ import annotations

import sys
import textwrap
from types import TracebackType

from bayes_ctxlaw._version import __version__
from bayes_ctxlaw.cli._common import DEFECT, SETTINGS, complain, is_defect

_LONGEST = 400  # characters of a message that was not written for people


def report_defects() -> None:
    """From now on, tell of uncaught errors in this program in a message, with an exit code."""
    sys.excepthook = _report


def _report(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Take the place of the traceback; with ``--debug`` it is shown."""
    if is_defect(error) and not SETTINGS.debug:
        complain(description(error))
    else:
        sys.__excepthook__(kind, error, traceback)
    if is_defect(error):
        # Raised in a hook, this sets the exit code; without it that would be 1.
        raise SystemExit(DEFECT)


def description(error: BaseException) -> str:
    """Say what failed, whose fault it is, and how to see more.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str
        A few lines.
    """
    said = textwrap.shorten(str(error), _LONGEST, placeholder=" …")
    lines = [f"Defect: {type(error).__name__}" + (f": {said}" if said else "")]
    # Loops of fits note which of them it was.
    lines += [textwrap.shorten(note, _LONGEST) for note in getattr(error, "__notes__", [])]
    lines.append(
        f"This is a defect of bayes-ctxlaw {__version__}, not of what you gave. To see the "
        "traceback, and to report it, run it again as: bayes-ctxlaw --debug …"
    )
    return "\n".join(lines)
