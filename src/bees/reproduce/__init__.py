"""The paper's Figures 3 to 8 and its claims, measured with the real system."""
