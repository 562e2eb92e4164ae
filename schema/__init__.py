"""JSON Schemas of the format, one folder for each major version; read them as package data."""
