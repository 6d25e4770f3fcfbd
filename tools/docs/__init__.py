"""What of the documentation is made from the code, and the check of the built site."""
