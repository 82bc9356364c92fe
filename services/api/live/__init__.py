"""Live streams: the outbox followed once, written once per class of readers, handed as bytes to everybody watching."""
