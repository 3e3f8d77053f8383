"""What a person reads: reports, tables, answers and descriptions."""
