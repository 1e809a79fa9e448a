"""Proof of who somebody is: passwords, tokens, codes, Google's word, and what a role may do. Knows no store."""
