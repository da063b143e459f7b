"""What turns a job into pixels. Only here and in `checks` is torch imported."""
