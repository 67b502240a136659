"""What the site is compared with: one server a module, each run by a Python that has what it needs."""
