"""Places and devices as people change them."""
