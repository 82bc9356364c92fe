"""What the API takes and answers about commands to devices."""
