"""What an artifact is: its manifest, its chunks, its signed root, and its files on a disk.

An artifact's bytes are its files' contents, one after another in the manifest's order. A worker packs an output into that
stream (:mod:`.packing`, :mod:`.chunking`), describes it (:mod:`.manifest`) and signs the description (:mod:`.signing`); a
machine checks the signature, lays the files out and writes chunks straight into them (:mod:`.extents`, :mod:`.tree`).
Nothing is ever unpacked and nothing is stored twice.
"""
