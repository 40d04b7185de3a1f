"""What every HTTP conversation of ours has in common: messages, problems, tokens and roles, serving, calling."""
