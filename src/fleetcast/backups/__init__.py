"""Everything that control knows, in one file: taken while it runs, put back on any engine."""
