"""How stories are cast, played on real wires, and held to what must come of them."""
