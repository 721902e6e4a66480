"""What has happened, told to the owner on a terminal, on a page, and as a list. Pure: values in, text out."""
