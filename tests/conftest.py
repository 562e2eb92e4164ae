"""Settings of all tests."""

from hypothesis import settings

# A deadline would be a timing assertion; the same examples everywhere make a failure repeatable.
settings.register_profile("ckptfmt", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ckptfmt")
