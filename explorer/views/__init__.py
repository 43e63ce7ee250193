"""The widgets of each page."""
