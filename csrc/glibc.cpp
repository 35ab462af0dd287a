// Part of a wheel for Linux, and of no other build (CMakeLists.txt, LADNET_STATIC_RUNTIME).
//
// glibc 2.29 gave these four functions a second version, which differs from the first in how a
// program may be told of an overflow (matherr), not in what is returned. A linker takes the newest
// that it sees; the first is in every glibc, so that a wheel built on a newer system than 2.28
// loads there too. So the module has functions of these names of its own, hidden from others, that
// go on to the first version.
#if __has_include(<features.h>)
#include <features.h>
#endif

#if defined(__linux__) && defined(__GLIBC__)
#if defined(__x86_64__)
#define LADNET_FIRST_GLIBC "GLIBC_2.2.5"
#define LADNET_GO_ON "jmp first_glibc_"
#define LADNET_PLT "@PLT"
#elif defined(__aarch64__)
#define LADNET_FIRST_GLIBC "GLIBC_2.17"
#define LADNET_GO_ON "b first_glibc_"
#define LADNET_PLT ""
#endif
#endif

#ifdef LADNET_FIRST_GLIBC
#define LADNET_FIRST(name)                                                                    \
  __asm__(".text\n.symver first_glibc_" name "," name "@" LADNET_FIRST_GLIBC "\n.globl " name \
          "\n.hidden " name "\n.type " name ", %function\n" name                              \
          ":\n" LADNET_GO_ON name LADNET_PLT "\n.size " name ", .-" name "\n")
LADNET_FIRST("exp");
LADNET_FIRST("exp2");
LADNET_FIRST("log");
LADNET_FIRST("log2");
#endif
