"""Servers of our own on loopback: PostgreSQL, etcd and an S3 store, for demos and tests, gone with whoever started them."""
