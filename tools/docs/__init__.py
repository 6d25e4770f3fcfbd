"""The generated parts of the documentation, and the check of the built site."""
