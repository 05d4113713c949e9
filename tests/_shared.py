"""Where the folder of published measurements is, for the tests that compare with it."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

SHARED = Path(os.environ.get("BAYES_CTXLAW_SHARED") or REPOSITORY.parent / "shared") / "data"
"""Folder ``data`` of ``BAYES_CTXLAW_SHARED``, or of ``shared`` beside the repository."""

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"no {SHARED} here")
