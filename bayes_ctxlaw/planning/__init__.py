"""What to do next: the context or compute a target needs, and the evaluation that tells most.

All of it is computed from the draws of one fit; nothing is fitted again.
"""

from bayes_ctxlaw.planning.evaluations import next_evaluation
from bayes_ctxlaw.planning.required import required_compute, required_context
from bayes_ctxlaw.planning.table import plan_table

__all__ = ["next_evaluation", "plan_table", "required_compute", "required_context"]
