"""LANet's score head: causal convolution to one channel, sigmoid, mask."""
