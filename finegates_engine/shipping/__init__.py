"""Finished runs that go with a project: copies, whole or light, and what remakes them."""
