"""What the tests and the commands check minseg with: the cases every backend must pass, and the bounds it must keep."""
