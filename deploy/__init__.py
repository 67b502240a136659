"""Templates that people take, and the tool that writes the parts of them that repeat the code: ``deploy.write``."""
