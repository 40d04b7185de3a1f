"""Retention: which artifacts are collected from the main store and the regions' buckets, and carrying that out."""
