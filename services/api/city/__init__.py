"""City platforms: shapes, whose subscriptions somebody sees, and what NGSI-LD routes share."""
