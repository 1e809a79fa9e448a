"""A client that behaves as the mobile app does: as strict in what it reads, as careless in what it sends."""
