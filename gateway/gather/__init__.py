"""Room gather: what belongs together, when it is complete, what it then owes, and to whom. Pure decisions."""
