"""Settings of all tests."""

import signal

from hypothesis import settings

# A shell starts background jobs deaf to Ctrl-C, and they hand that on; the commands under test must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A deadline would be a timing assertion; the same examples everywhere make a failure repeatable.
settings.register_profile("ckptfmt", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ckptfmt")
