"""Hosts in network namespaces with limited links: a small network on one machine, for benchmarks and tests. Linux, root."""
