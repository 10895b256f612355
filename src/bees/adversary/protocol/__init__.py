"""Byzantine servers and devices: each behaviour is one way to lie, and a liar has several."""
