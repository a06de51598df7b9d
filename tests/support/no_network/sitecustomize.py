"""Python imports this when it starts with the folder on PYTHONPATH: the guard for processes of the tests."""

import loopback_only

loopback_only.install()
