// Included by the compiler's command line into every file of a wheel for Linux, and into no other
// build (CMakeLists.txt, LADNET_STATIC_RUNTIME).
//
// glibc 2.29 gave these four functions a second version, which differs from the first in how a
// program may be told of an overflow (matherr), not in what is returned. A linker takes the newest
// that it sees; the first is in every glibc, so that a wheel built on a newer system than 2.28
// loads there too.
#pragma once

#if __has_include(<features.h>)
#include <features.h>
#endif

#if defined(__linux__) && defined(__GLIBC__)
#if defined(__x86_64__)
#define LADNET_FIRST_GLIBC "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define LADNET_FIRST_GLIBC "GLIBC_2.17"
#endif
#endif

#ifdef LADNET_FIRST_GLIBC
__asm__(".symver exp,exp@" LADNET_FIRST_GLIBC);
__asm__(".symver exp2,exp2@" LADNET_FIRST_GLIBC);
__asm__(".symver log,log@" LADNET_FIRST_GLIBC);
__asm__(".symver log2,log2@" LADNET_FIRST_GLIBC);
#undef LADNET_FIRST_GLIBC
#endif
