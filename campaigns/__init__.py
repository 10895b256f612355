"""Measurements that stand behind what the documents claim: each script writes one file of ``docs/evidence``.

Run them from the repository's root, such as ``python -m campaigns.proofs``.
"""
