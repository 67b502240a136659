"""What the documentation's site has besides ``docs/``: reference pages from the code, and drawn diagrams."""
