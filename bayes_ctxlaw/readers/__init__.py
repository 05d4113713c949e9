"""Readers of evaluation outputs: from a folder of files to what `as_observations` takes.

One file a format. Every reader returns a `Reading`: one row per evaluated cell, what the files
could not say, and which files were left out. Nothing is guessed without being said.
"""

from bayes_ctxlaw.readers.context_scaling import read_context_scaling
from bayes_ctxlaw.readers.inspect_logs import read_inspect
from bayes_ctxlaw.readers.lm_eval import read_lm_eval
from bayes_ctxlaw.readers.reading import Reading
from bayes_ctxlaw.readers.tables import read_tables

__all__ = ["Reading", "read_context_scaling", "read_inspect", "read_lm_eval", "read_tables"]
