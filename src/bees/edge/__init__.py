"""The radio-and-battery world of the paper: Eq. 4 to 9 over all UEs at once, in NumPy."""
