/* SPDX-License-Identifier: Apache-2.0
 * Files of the source tree that become part of the program: MA_EMBED declares SYMBOL_start and SYMBOL_end around them.
 */
#ifndef MA_EMBED_H
#define MA_EMBED_H

#include <stdint.h>

/* The assembler reads the file; the path is relative to the root of the repository, where the
 * compiler runs. The final NUL is not part of the file. */
#define MA_EMBED(symbol, path)                                                                                         \
    __asm__(".pushsection .rodata\n"                                                                                   \
            ".balign 16\n" #symbol "_start:\n"                                                                         \
            ".incbin \"" path "\"\n" #symbol "_end:\n"                                                                 \
            ".byte 0\n"                                                                                                \
            ".popsection\n");                                                                                          \
    extern const uint8_t symbol##_start[] __attribute__((visibility("hidden")));                                       \
    extern const uint8_t symbol##_end[] __attribute__((visibility("hidden")))

#endif
