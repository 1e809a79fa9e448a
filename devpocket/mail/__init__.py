"""Mails: what they say, how they leave (SMTP or files), and an outbox that keeps trying. Knows no store."""
