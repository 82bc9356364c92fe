"""Who reads which health data what for, the trace it leaves, and names forgotten in time."""
