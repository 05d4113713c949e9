"""The command line ``bayes-ctxlaw``. One file a command; each is a thin layer over the package."""

from bayes_ctxlaw.cli.app import app, main

__all__ = ["app", "main"]
