"""What is kept about one person: handed out whole, or taken away whole."""
