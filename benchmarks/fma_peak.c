/* The rate at which this machine multiplies and adds: independent chains in registers only.

   Compiled by ceilings.py for the instruction set in use. The chains are as many as hide the
   instruction's latency on two ports and fit into the registers. */

#if defined(__AVX512F__)
#define BYTES 64
#define CHAINS 24
#elif defined(__AVX__)
#define BYTES 32
#define CHAINS 12
#else
#define BYTES 16
#define CHAINS 12
#endif

typedef float vector __attribute__((vector_size(BYTES)));

/* Runs `iterations` rounds and returns how many multiplications and additions they made. The sum
   goes to `sink`, or the compiler would drop the work. */
double fma_peak(long iterations, float factor, float* sink) {
  const int lanes = BYTES / (int)sizeof(float);
  vector chain[CHAINS], multiplier, total;
  for (int lane = 0; lane < lanes; ++lane) {
    multiplier[lane] = factor;
    total[lane] = 0;
  }
  for (int i = 0; i < CHAINS; ++i) chain[i] = multiplier + (float)i;
  for (long n = 0; n < iterations; ++n) {
#pragma GCC unroll 24
    for (int i = 0; i < CHAINS; ++i) chain[i] = chain[i] * multiplier + multiplier;
  }
  for (int i = 0; i < CHAINS; ++i) total += chain[i];
  *sink = 0;
  for (int lane = 0; lane < lanes; ++lane) *sink += total[lane];
  return 2.0 * (double)iterations * CHAINS * lanes;
}
