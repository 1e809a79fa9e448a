"""The whole product from outside: real server processes, real environments, and a client that behaves as the app."""
