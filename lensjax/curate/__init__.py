"""The curate room: what is made of a user's data root as a whole.

Not readers (lensjax.data) and not checks (lensjax.checks), which it uses: here are the commands
`python -m lensjax.data ...`, above the rooms that they need, so that the data room stays below.

    $ python -m lensjax.data split /data/stamps --out=split.parquet
"""
