"""The build process: claims a build, checks the commit out, runs its recipe's command, packs, signs and uploads the output.

A worker holds no database credentials and keeps nothing that matters: what it knows of a build is the claim and its token,
and when that token is refused it stops and drops everything. One build at a time in each of its slots.
"""
