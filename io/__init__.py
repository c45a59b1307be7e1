"""The only place that knows SQL, SMTP and files."""
