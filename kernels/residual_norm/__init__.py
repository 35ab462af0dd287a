"""What follows LANet's attention: mask, residual and LayerNorm."""
