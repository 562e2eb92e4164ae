"""The reference trainer and its parts."""
