"""What the API reads and writes, one module a resource; the statements stand in `queries.sql`."""

from services.adapters.queries import Queries

Q = Queries.beside(__file__)
