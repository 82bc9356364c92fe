"""Residents and their elders: as much of each as the asker may see."""
