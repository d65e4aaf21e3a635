"""Other layouts of the same parameters: flat buffers, layers by themselves, real and imaginary parts."""
