"""One file a command of `gateway`: each has `add(subparsers)` and a handler that returns an exit code."""
