"""What several wire formats share; no format itself."""
