"""What a hostile client or upstream tries, and what becomes of it."""
