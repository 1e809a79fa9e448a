"""The store's contract, run over every adapter, and what is particular to each."""
