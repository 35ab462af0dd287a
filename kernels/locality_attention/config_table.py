"""The shipped table of configurations, as `configs` reads it.

Below architectures and a precision ("16-bit": bf16 and fp16): kernel, prior, and a column for each
of the head sizes 16, 32, 64, 128, 256. ``128x64/32w8s3`` means block_m = 128, block_n = 64,
block_band = 32, 8 warps, 3 stages; a "+32" before the warps: queries_n; an "o" at the end: one far
loop; a "u": keys are not split; a "t": far tiles are copied by descriptors; a "p" or a "g" behind
it: by warps that do nothing else, as Triton's compiler or as Gluon has them. Further lines of the
same names have further candidates for autotuning, "-" where there is none. Below "instead" are the
entries that differ from those above. "backward" has entries where one launch serves dK, dV and dQ;
everywhere else two do.
"""

TABLE = """
sm_80 16-bit
forward          none     128x128w8s3    128x128w8s3    128x128w8s2    128x64w8s2     64x64w8s2
forward          none     -              -              128x64w4s3     128x64w8s3     -
forward          additive 128x128/64w8s3 128x128/64w8s3 128x128/64w8s2u 128x64/64w8s2  64x64/32w8s2
forward          additive -              -              128x64/64w4s3u 128x64/64w8s3  -
forward          logit    128x128w8s3    128x128w8s3    128x128w8s2    128x64w8s2     64x64w8s2
short_128        none     -              -              32x128w4s1     32x128w4s1     -
short_128        additive -              -              32x128/32w4s1  32x128/32w4s1  -
short_128        logit    -              -              32x128w4s1     32x128w4s1     -
short_208        none     -              -              32x208w4s1     32x208w4s1     -
short_208        additive -              -              32x208/32w4s1  32x208/32w4s1  -
short_208        logit    -              -              32x208w4s1     32x208w4s1     -
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w4s2         64w4s2         64w4s2
preprocess       additive 64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2
short_backward   none     -              -              32x32+32w4s2   32x32+32w4s2   -
short_backward   additive -              -              32x64+32w4s2   32x32+32w4s2   -
short_backward   additive -              -              32x32+32w4s2   -              -
short_backward   logit    -              -              32x64+32w4s2   32x32+32w4s2   -
short_backward   logit    -              -              32x32+32w4s2   -              -
backward         none     -              -              32x128+64w8s2  128x64+128w8s2 -
backward         additive -              -              64x128/64+64w8s2 64x64/64+64w4s2 -
backward         logit    -              -              64x128+64w8s2  64x64+64w4s2   -
backward_keys    none     128x128w8s2    64x128w8s3     32x128w8s3     128x64w8s2     32x64w8s2
backward_keys    none     -              -              64x128w8s3     64x64w8s2      -
backward_keys    additive 128x128/64w8s2 64x128/64w8s2  64x128/64w8s2  128x64/64w8s2  32x64/32w8s3
backward_keys    additive -              -              -              64x64/64w8s2   -
backward_keys    logit    128x128w8s3    64x128w8s3     64x128w8s2     128x64w8s2     32x64w8s2
backward_queries none     128x128w8s3    128x128w8s3    128x64w8s2     128x64w8s3     64x32w8s3
backward_queries none     -              -              128x64w8s3     64x64w8s2      -
backward_queries logit    128x64w8s3     128x64w8s2     128x64w8s2     64x64w4s2      64x32w8s3
sm_80 tf32
forward          none     128x128w8s3    128x128w8s3    128x64w8s3     128x64w8s2     64x32w8s2
forward          additive 128x128/32w8s3 128x128/32w8s3 128x128/32w8s2 128x32/32w8s3  32x32/32w8s2
forward          logit    128x128w8s3    128x128w8s3    128x64w8s3     128x64w8s2u    64x32w8s2
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w4s2         64w4s2         64w4s2
preprocess       additive 64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2
backward_keys    none     64x128w8s3     64x128w8s3     64x128w8s3     32x64w8s3      16x32w8s3
backward_keys    additive 64x128/32w8s3  64x128/32w8s3  64x64/32w8s3   32x64/32w8s3   16x32/32w8s3
backward_keys    logit    128x128w8s3    64x128w8s3     32x128w8s3     32x64w8s3      16x32w8s3
backward_queries none     128x128w8s3    128x128w8s2    128x32w8s3     64x64w8s2      32x32w4s2
backward_queries logit    128x64w8s3     128x64w8s2     128x64w8s2     64x32w8s3      32x16w8s2o
sm_80 fp32
forward          none     64x64w8s3      64x64w8s3      64x64w8s3      64x32w8s2u     32x32w8s2
forward          additive 64x32/32w8s3   64x64/32w8s3   64x64/32w8s3u  32x64/16w8s2   16x32/16w4s2
forward          logit    64x64w8s3      64x64w8s3      64x64w8s3      64x32w8s2u     32x32w8s2
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w4s2         64w4s2         64w4s2
preprocess       additive 64/32w4s2      64/32w4s2      64/32w8s2      32/32w4s2      64/32w8s2
backward_keys    none     64x64w8s3      64x64w8s3      32x32w8s3      32x32w8s2      16x32w8s3
backward_keys    additive 64x64/32w8s3   32x64/32w8s2   32x32/32w8s3   32x32/16w8s2   16x32/16w8s3
backward_keys    logit    64x64w8s3      32x64w8s3      32x32w8s3      32x32w8s2      16x32w8s3
backward_queries none     64x32w8s3      64x64w8s3      64x64w8s3      64x32w8s2      16x32w4s2
backward_queries logit    64x64w8s3      64x64w8s3      64x32w8s3      64x32w8s2      16x32w4s2
sm_86 16-bit
forward          none     128x128w8s3    128x128w8s3    128x128w8s2    128x64w8s2     64x32w8s2
forward          additive 128x128/64w8s3 128x128/64w8s3 128x64/64w8s3  128x64/64w8s2  64x32/32w8s2
forward          logit    128x128w8s3    128x128w8s3    128x128w8s2    128x64w8s2     32x32w8s2
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w8s1
preprocess       none     64w4s2         64w4s2         64w4s2         64w4s2         64w4s2
preprocess       additive 64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2
short_backward   none     -              -              32x32+32w4s2   32x32+32w4s2   -
short_backward   additive -              -              32x32+32w4s2   32x32+32w4s2   -
short_backward   logit    -              -              32x32+32w4s2   32x32+32w4s2   -
backward         none     -              -              64x128+64w8s3  64x64+64w8s2   -
backward         additive -              -              64x128/64+64w8s3 64x64/64+64w8s2 -
backward         logit    -              -              32x128+64w8s2  64x64+64w8s2   -
backward_keys    none     128x128w8s3    64x128w8s3     64x128w8s3     64x64w8s2      32x32w8s2
backward_keys    additive 128x128/64w8s3 64x128/64w8s2  64x128/64w8s3  64x64/64w8s2   32x32/32w8s2
backward_keys    logit    128x128w8s3    64x128w8s3     32x128w8s2     64x64w8s2      16x64w8s2
backward_queries none     128x128w8s3    128x128w8s3    128x64w8s2     64x64w4s2      32x32w4s2
backward_queries logit    128x64w8s3     128x64w8s3     128x64w8s2     128x32w8s2     32x32w4s2
sm_86 tf32
forward          none     128x128w8s3    128x128w8s3    128x64w8s3     128x32w8s2     32x16w4s2
forward          additive 128x128/32w8s3 128x128/32w8s3 128x64/32w8s3  128x32/32w8s2  16x32/32w8s2
forward          logit    128x128w8s3    128x128w8s3    128x64w8s3     128x32w8s2     32x16w4s2
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w4s2         64w4s2         64w4s2
preprocess       additive 64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2      32/32w4s2
backward_keys    none     64x128w8s3     64x128w8s3     32x128w8s3     32x32w4s2      16x16w4s2
backward_keys    additive 64x128/32w8s3  64x128/32w8s3  32x128/32w8s3  32x32/32w4s2   16x16/32w4s2
backward_keys    logit    64x128w8s3     64x128w8s3     32x128w8s3     16x64w8s3      16x16w8s3
backward_queries none     128x128w8s3    128x64w8s2     64x64w8s2      32x32w8s2      16x16w8s2
backward_queries logit    128x64w8s3     128x64w8s2     128x32w8s3     64x16w8s3      16x16w8s3
sm_86 fp32
forward          none     64x64w4s3      64x64w8s3      64x32w8s3      32x64w8s2      32x16w8s2
forward          additive 64x64/32w8s3   64x64/32w8s3   32x64/32w8s2   16x64/16w4s2u  16x32/16w8s2
forward          logit    64x64w8s3      64x64w8s3      64x32w8s3      32x64w8s2      32x16w8s2
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w8s2         32w4s2         64w8s2
preprocess       additive 64/32w4s2      64/32w4s2      32/32w4s2      64/16w8s2      64/16w8s2
backward_keys    none     32x64w8s3      32x64w8s3      32x32w8s3      16x32w8s2      16x32w8s2
backward_keys    additive 32x64/32w8s3   32x64/32w8s3   32x32/32w8s3   16x32/16w8s2   16x32/16w8s2
backward_keys    logit    32x64w8s3      32x64w8s3      32x32w8s3      16x32w8s2      16x32w8s2
backward_queries none     64x32w8s3      64x64w8s3      64x32w8s3      32x32w8s2      32x16w8s2
backward_queries logit    64x64w8s3      64x64w8s3      64x32w8s3      32x32w8s2      32x16w8s2
sm_90 16-bit
forward          none     128x128w8s3    128x128w8s3    128x128w8s3    128x128w8s2    64x64w8s3
forward          none     -              -              128x128w8s2    128x64w8s3     -
forward          none     -              -              128x128w8s3t   128x128w8s3t   -
forward          none     -              -              128x128w4s3utg 128x128w4s2utg -
forward          none     -              -              -              128x128w4s3utg -
forward          additive 128x128/64w8s3 128x128/64w8s3 128x128/64w8s3 128x128/64w8s2 64x64/32w8s3
forward          additive -              -              -              128x64/64w8s3  -
forward          additive -              -              128x128/64w8s3t 128x128/64w8s3t -
forward          additive -              -              128x128/128w4s3utg 128x128/128w4s2utg -
forward          additive -              -              -              128x128/128w4s3utg -
forward          logit    128x128w8s3    128x128w8s3    128x128w8s3    128x128w8s2    64x64w8s3
forward          logit    -              -              128x128w8s3t   128x128w8s3t   -
forward          logit    -              -              128x128w4s3utg 128x128w4s2utg -
forward          logit    -              -              -              128x128w4s3utg -
short_128        none     -              -              64x128w4s1     64x128w4s1     -
short_128        additive -              -              64x128/32w4s1  64x128/32w4s1  -
short_128        logit    -              -              64x128w4s1     64x128w4s1     -
short_208        none     -              -              64x208w4s1     64x208w4s1     -
short_208        additive -              -              64x208/32w4s1  64x208/32w4s1  -
short_208        logit    -              -              64x208w4s1     64x208w4s1     -
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w8s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w4s2         64w4s2         64w4s2
preprocess       additive 64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2
short_backward   none     -              -              32x64+32w4s2   32x64+32w4s2   -
short_backward   additive -              -              32x64+32w4s2   32x64+32w4s2   -
short_backward   additive -              -              64x64+32w4s2   -              -
short_backward   logit    -              -              32x64+32w4s2   32x64+32w4s2   -
backward         none     -              -              -              32x64+64w4s2   -
backward         additive -              -              -              32x64/64+64w4s2 -
backward         logit    -              -              64x128+64w8s3  32x64+32w4s3   -
backward_keys    none     128x128w8s3    64x128w8s3     64x128w8s3     32x128w8s2     16x64w8s3
backward_keys    none     -              -              64x128w8s2     64x64w8s3      -
backward_keys    additive 128x128/64w8s3 64x128/64w8s3  64x128/64w8s3  32x128/64w8s2  16x64/32w8s3
backward_keys    additive -              -              64x128/64w8s2  64x64/64w8s3   -
backward_keys    logit    128x128w8s3    64x128w8s3     64x128w8s3     32x128w8s2o    32x32w8s2
backward_queries none     128x128w8s3    128x128w8s3    128x64w8s3     128x64w8s2     64x64w8s2
backward_queries none     -              -              -              128x64w8s3     -
backward_queries logit    128x64w8s3     128x64w8s3     128x64w8s3     128x64w8s3     32x64w8s2
sm_90 tf32
forward          none     128x128w8s3    128x128w8s3    128x128w8s3    128x64w8s2     64x32w8s2
forward          additive 128x128/32w8s3 128x128/32w8s3 128x128/32w8s3 128x64/32w8s2  64x16/32w8s3
forward          logit    128x128w8s3    128x128w8s3    128x128w8s3    128x64w8s2     128x16w8s3
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w4s2         64w4s2         64w4s2
preprocess       additive 64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2
backward_keys    none     64x128w8s3     64x128w8s3     64x128w8s3     16x128w8s3     16x32w8s3
backward_keys    additive 64x128/32w8s3  64x128/32w8s3  64x128/32w8s3  16x128/32w8s3  16x32/32w8s3
backward_keys    logit    64x128w8s3o    64x128w8s3o    32x128w8s3o    16x128w8s3o    16x32w8s3o
backward_queries none     128x128w8s3    128x128w8s3    128x64w8s3     128x32w8s3     32x32w8s2
backward_queries logit    128x64w8s3o    128x64w8s3o    128x32w8s2o    128x32w8s3o    32x16w8s2o
sm_90 fp32
forward          none     64x64w8s3      64x64w8s3      64x32w8s3u     32x16w4s2      64x16w8s3
forward          additive 64x64/32w8s3   64x64/32w8s3   32x32/32w4s3   16x64/16w4s3   16x16/16w4s2u
forward          logit    64x64w8s3      64x64w8s3      64x32w8s3      32x16w4s2      64x16w8s3
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w8s2         64w4s2         64w8s2
preprocess       additive 64/32w4s2      64/32w4s2      32/32w4s2      64/16w8s2      64/16w8s2
backward_keys    none     32x64w8s3      32x64w8s3      32x32w8s3      16x16w4s3      16x32w8s3
backward_keys    additive 32x64/32w8s3   32x64/32w8s3   32x32/32w8s3   16x16/16w4s3   16x32/16w8s3
backward_keys    logit    32x64w8s3      32x64w8s3      32x32w8s3      16x16w4s3      16x32w8s3
backward_queries none     64x64w8s2      64x64w8s3      64x32w8s3      64x32w8s2      16x32w4s2
backward_queries logit    64x64w8s3      64x64w8s3      64x32w8s3      64x32w8s2      16x32w4s2
sm_100 sm_110 16-bit
forward          none     128x128w8s3    128x128w8s3    128x128w8s3    128x64w8s3     64x64w8s3
forward          none     -              -              128x64w8s3     128x64w8s2     -
forward          none     -              -              128x128w8s3t   128x64w8s3t    -
forward          none     -              -              128x64w4s3utp  128x64w8s3utp  -
forward          additive 128x128/64w8s3 128x128/64w8s3 128x128/64w8s3 64x128/64w8s2  64x64/32w8s3
forward          additive -              -              128x64/64w8s3  -              -
forward          additive -              -              128x128/64w8s3t 128x64/64w8s3t -
forward          additive -              -              128x64/64w4s3utp 128x64/64w8s3utp -
forward          logit    128x128w8s3    128x128w8s3    128x128w8s3    128x64w8s3     64x64w8s3
forward          logit    -              -              -              128x64w8s3t    -
forward          logit    -              -              128x64w4s3utp  128x64w8s3utp  -
short_208        none     -              -              64x208w8s1     64x208w8s1     -
short_208        additive -              -              64x208/32w8s1  64x208/32w8s1  -
short_208        logit    -              -              64x208w8s1     -              -
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w4s2         64w4s2         64w4s2
preprocess       additive 64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2
short_backward   none     -              -              64x64+64w4s2   32x64+32w4s2   -
short_backward   additive -              -              64x64+64w4s2   32x64+32w4s2   -
short_backward   logit    -              -              64x64+64w4s2   32x64+32w4s2   -
backward         none     -              -              -              64x128+64w8s2  -
backward         additive -              -              -              32x64/32+32w4s3 -
backward         logit    -              -              -              64x128+32w8s2  -
backward_keys    none     64x128w8s3     64x128w8s3     64x128w8s3     64x128w8s2     32x64w8s3
backward_keys    none     -              -              64x128w8s2     -              -
backward_keys    additive 64x128/64w8s3  64x128/64w8s3  64x128/64w8s3  64x128/64w8s2  32x64/32w8s2
backward_keys    additive -              -              64x128/64w8s2  -              -
backward_keys    logit    64x128w8s3     64x128w8s3     64x128w8s3     64x128w8s2     32x64w8s3
backward_queries none     128x128w8s3    128x128w8s3    128x64w8s3     128x64w8s3     64x64w8s2
backward_queries none     -              -              64x64w8s3      64x64w8s3      -
backward_queries logit    128x64w8s3     128x64w8s3     128x32w8s3     64x64w8s2      64x64w8s2
sm_100 sm_110 tf32
forward          none     128x128w8s3    128x128w8s3    128x128w8s3    128x64w8s2     128x16w8s3
forward          additive 128x128/32w8s3 128x128/32w8s3 128x128/32w8s3 128x64/32w8s2  64x16/32w8s3
forward          logit    128x128w8s3    128x128w8s3    128x128w8s3    128x64w8s2     64x16w8s3
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w4s2         64w4s2         64w4s2
preprocess       additive 64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2      64/64w8s2
backward_keys    none     64x128w8s3     64x128w8s3     32x128w8s3     16x128w8s3     16x32w8s3
backward_keys    additive 64x128/32w8s3  64x128/32w8s3  32x128/32w8s3  16x128/32w8s3  16x32/32w8s3
backward_keys    logit    64x128w8s3     64x128w8s3     32x128w8s2     16x128w8s3     16x32w8s3
backward_queries none     128x64w8s3     128x64w8s3     128x32w8s2     128x32w8s3     32x32w4s2
backward_queries logit    64x64w8s3      64x64w8s3      128x32w8s2     64x32w8s2      32x16w8s3
sm_110 tf32 instead
backward_queries none     128x64w8s2     -              -              -              -
sm_100 sm_110 fp32
forward          none     64x64w8s3      64x64w8s3      64x32w8s3      32x16w4s2      64x16w8s3
forward          additive 64x64/32w8s2   64x64/32w8s3   32x32/32w4s3   16x64/16w4s3   16x16/16w4s2
forward          logit    64x64w8s2u     64x64w8s3      64x32w8s3      32x16w4s2      64x16w8s3
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         32w4s2         64w4s2         64w8s2
preprocess       additive 64/32w4s2      64/32w4s2      32/32w4s2      16/16w4s2      64/16w8s2
backward_keys    none     32x64w8s3      32x64w8s3      32x32w8s3      16x16w4s3      16x32w8s3
backward_keys    additive 32x64/32w8s3   32x64/32w8s3   32x32/32w8s3   64x16/16w8s2   16x32/16w8s3
backward_keys    logit    32x64w8s3      32x64w8s3      32x32w8s3      16x16w4s3      16x32w8s3
backward_queries none     64x32w8s3      64x64w8s3      64x32w8s3      32x64w8s2      32x16w8s2
backward_queries logit    64x64w8s3      64x64w8s3      64x32w8s3      32x64w8s3      32x16w8s2
sm_110 fp32 instead
forward          additive 64x32/32w8s3   -              -              -              -
forward          logit    64x32w8s3      -              -              -              -
backward_keys    none     -              -              32x32w8s2      -              -
backward_keys    additive 64x32/32w8s3   -              -              -              -
backward_keys    logit    -              -              32x32w8s2      -              -
sm_120 16-bit
forward          none     128x128w8s3    128x128w8s3    128x128w8s2    128x64w8s2     64x32w8s2
forward          none     -              -              128x64w8s3     -              -
forward          additive 128x128/64w8s3 128x128/64w8s3 128x128/64w8s2 128x64/64w8s2  64x32/32w8s2
forward          additive -              -              128x64/64w8s3  -              -
forward          logit    128x128w8s3    128x128w8s3    128x128w8s2    128x64w8s2     64x32w8s2
short_128        none     -              -              32x128w4s1     32x128w4s1     -
short_128        additive -              -              32x128/32w4s1  32x128/32w4s1  -
short_128        logit    -              -              32x128w4s1     32x128w4s1     -
short_208        none     -              -              32x208w4s1     32x208w4s1     -
short_208        additive -              -              32x208/32w4s1  32x208/32w4s1  -
short_208        logit    -              -              32x208w4s1     32x208w4s1     -
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w4s2         64w4s2         64w4s2
preprocess       additive 64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2
short_backward   none     -              -              32x32+32w4s2   32x32+32w4s2   -
short_backward   additive -              -              32x64+32w4s2   32x32+32w4s2   -
short_backward   logit    -              -              32x32+32w4s2   32x32+32w4s2   -
backward         none     -              -              64x128+64w8s2  64x64+64w8s2   -
backward         additive -              -              64x128/64+64w8s2 64x64/64+64w8s2 -
backward         logit    -              -              32x128+64w8s2  64x64+64w8s2   -
backward_keys    none     128x128w8s3    64x128w8s3     64x128w8s2     64x64w8s2      32x32w8s2
backward_keys    none     -              -              64x64w8s2      32x64w8s2      -
backward_keys    additive 128x128/64w8s3 64x128/64w8s2  64x128/64w8s2  64x64/64w8s2   32x32/32w8s2
backward_keys    additive -              -              64x64/64w8s2   32x64/64w8s2   -
backward_keys    logit    128x128w8s3    64x128w8s3     32x128w8s2     64x64w8s2      16x64w8s2
backward_queries none     128x128w8s3    128x128w8s3    128x64w8s2     64x64w4s2      32x32w4s2
backward_queries none     -              -              64x64w8s2      64x32w8s2      -
backward_queries logit    128x64w8s3     128x64w8s3     128x64w8s2     128x32w8s2     32x32w4s2
sm_120 tf32
forward          none     128x128w8s3    128x128w8s3    128x64w8s3     128x32w8s2     32x16w4s2
forward          additive 128x128/32w8s3 128x128/32w8s3 128x64/32w8s3  128x32/32w8s2  32x16/32w8s2
forward          logit    128x128w8s3    128x128w8s3    128x64w8s3     128x32w8s2     32x16w4s2
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w4s2         64w4s2         64w4s2
preprocess       additive 64/64w4s2      64/64w4s2      64/64w4s2      64/64w4s2      32/32w4s2
backward_keys    none     64x128w8s3     64x128w8s3     32x128w8s3     32x32w4s2      16x16w4s2
backward_keys    additive 64x128/32w8s3  64x128/32w8s3  32x128/32w8s3  32x32/32w4s2   16x16/32w4s2
backward_keys    logit    64x128w8s3     64x128w8s3     32x128w8s3     16x64w8s3      16x16w8s3
backward_queries none     128x64w8s3     128x64w8s2     64x64w8s2      32x32w8s2      16x16w8s2
backward_queries logit    128x64w8s3     128x64w8s2     128x32w8s3     64x16w8s3o     16x16w8s2
sm_120 fp32
forward          none     64x64w4s3      64x64w8s3      64x32w8s3      32x64w8s2      32x16w8s2
forward          additive 64x32/32w8s3   64x64/32w8s3   32x64/32w8s2   32x16/16w8s2   16x16/16w4s2
forward          logit    64x32w8s3      64x64w8s3      64x32w8s3      32x64w8s2u     32x16w8s2
combine          none     16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
combine          additive 16w4s1         16w4s1         16w4s1         16w4s1         16w4s1
preprocess       none     64w4s2         64w4s2         64w8s2         32w4s2         64w8s2
preprocess       additive 64/32w4s2      64/32w4s2      32/32w4s2      64/16w8s2      64/16w8s2
backward_keys    none     32x64w8s3      32x64w8s3      32x32w8s2      16x32w8s2      16x32w8s2
backward_keys    additive 32x64/32w8s3   32x32/32w8s3   32x32/32w8s3   16x32/16w8s2   16x32/16w8s2
backward_keys    logit    32x64w8s3      32x64w8s3      32x32w8s3      16x32w8s2      16x32w8s2
backward_queries none     64x32w8s3      64x64w8s3      64x32w8s3      32x32w8s2      32x16w8s2
backward_queries logit    64x64w8s3      64x64w8s3      64x32w8s3      32x32w8s2      32x16w8s2
"""
