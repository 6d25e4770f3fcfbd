"""What is released: how it is built, checked and described."""
