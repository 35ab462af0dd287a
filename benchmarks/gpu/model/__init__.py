"""What the kernels ought to take on a GPU, by arithmetic: ``python -m benchmarks.gpu model``.

`.chips` has the constants of GPUs, `.attention`, `.score_head` and `.ddl` count what each block of
a kernel does, from the kernels' own plans and from what compilers made of them
(docs/gpu-resources.json), `.timing` makes times of that, `.page` writes docs/gpu-model.md, and
`.predict` is what a run on a GPU is held against. Nothing here was fitted to a measurement.
"""
