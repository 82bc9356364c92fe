"""What answers are made of: shapes, rows as one class of readers may see them, which values are health."""
