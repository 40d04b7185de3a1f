"""What every HTTP edge of ours shares: tokens, problem details, message codec, serving, sessions."""
