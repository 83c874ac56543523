"""Every parameter, declared once; folders and profiles."""
