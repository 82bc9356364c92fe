"""Wire formats: one file each, bytes in, messages or a reason for rejection out."""
