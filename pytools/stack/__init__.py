"""The stack: what each protocol does. Start at `stack.stack.Stack`."""
