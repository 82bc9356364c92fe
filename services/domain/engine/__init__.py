"""The alert engine, pure: a fold of the committed log into decisions; one code live, in a backtest and in a test."""
