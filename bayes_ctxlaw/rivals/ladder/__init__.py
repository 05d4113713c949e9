"""Forecasts from a ladder of training runs: loss from size, accuracy from loss."""

from bayes_ctxlaw.rivals.ladder.task_ladder import TaskLadder

__all__ = ["TaskLadder"]
