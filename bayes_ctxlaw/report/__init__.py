"""One self-contained HTML page about a fit.

Figures are part of the page, so that it can be sent or archived as a single file. It makes no
request and runs no script.
"""

from bayes_ctxlaw.report.page import Figure, write_report

__all__ = ["Figure", "write_report"]
