"""``python -m ladnet_fast.cli``, which ``accelerate launch -m`` needs."""

from . import main

main()
