"""One file that runs a bundle where there is nothing but Python."""
