"""Networks built from their configs."""
