"""The live picture of deployments: drawn by pure functions, shown on terminals; plain lines elsewhere."""
