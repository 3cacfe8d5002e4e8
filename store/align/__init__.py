"""Which sample belongs to which step: the rule that SQL and the analysis share."""
