"""The contracts as functions, for Rota's own tests and for people who write their own policies.

from rota.testing import check_policy
check_policy(MyDispatcher, "serving.dispatch")
"""

from rota.testing.policies import Question, check_policy, violations

__all__ = ["Question", "check_policy", "violations"]
