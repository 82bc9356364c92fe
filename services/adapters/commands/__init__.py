"""The command ledger in the database: what people ask for, and what becomes of it."""
