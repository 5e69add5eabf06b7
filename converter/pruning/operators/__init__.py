"""How channels move through operators: one rule an operator, in ``table.RULES``."""
