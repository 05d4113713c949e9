"""Options of the laws that pool otherwise than a hierarchy does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bayes_ctxlaw.context_law import ContextLaw
from bayes_ctxlaw.errors import SpecificationError


def plain_law(name: str, options: Mapping[str, Any]) -> ContextLaw:
    """A ``ContextLaw`` without effects of any level.

    Parameters
    ----------
    name : str
        Class that it is for, in the message.
    options : mapping
        Of ``ContextLaw``.

    Raises
    ------
    SpecificationError
        If `options` have groups, or are what ``ContextLaw`` refuses.
    """
    if "groups" in options:
        raise SpecificationError(
            f"{name} has no groups: got groups={options['groups']!r}. Leave them out, or use "
            "ContextLaw, which has effects of groups."
        )
    # Without effects of tasks there is nothing for a task to stray from by itself.
    return ContextLaw(groups=(), **({"discrepancy": "none"} | options))
