"""The errors the package raises on purpose.

Every one derives from `BayesCtxlawError`, so that a caller (the command line, a notebook) can catch
what the package has to say to a person and let real defects through. Each also derives from the
built-in class a Python programmer would expect.
"""


class BayesCtxlawError(Exception):
    """Base class of every error this package raises on purpose.

    Examples
    --------
    >>> from bayes_ctxlaw.errors import BayesCtxlawError, ObservationError
    >>> issubclass(ObservationError, BayesCtxlawError)
    True
    """


class ObservationError(BayesCtxlawError, ValueError):
    """The data are not usable as they stand.

    Raised at the door, by `as_observations`, `as_design`, `grid` and `aggregate_items`. The message
    lists all faults at once: the column, the rows, what was found, what is allowed, what to do.
    """


class SpecificationError(BayesCtxlawError, ValueError):
    """An option, an argument or a prior is wrong; the data have nothing to do with it."""


class UnknownLabelError(BayesCtxlawError, ValueError):
    """A label (of a task, a model, a data set …) is not among the known ones."""


class NotFittedError(BayesCtxlawError, RuntimeError):
    """Something that needs a fitted law was asked of one that has not been fitted."""


class FileFormatError(BayesCtxlawError, ValueError):
    """A file is missing, cannot be read, or is of a kind this package does not read."""
