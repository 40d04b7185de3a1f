"""Outside checks: asking what a plan wants asked while a wave bakes."""
