"""What runs beside the app, in processes of its own. No torch in the app itself."""
