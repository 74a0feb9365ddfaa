/* SPDX-License-Identifier: Apache-2.0
 * A passphrase from the terminal, by OpenSSL's user interface: echo off, signals minded.
 */
#include "ma/crypto.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <unistd.h>

int ma_passphrase_ask(const char *prompt, bool twice, char *out, size_t cap)
{
    /* Without a terminal OpenSSL would read standard input. */
    const int fd = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);

    if (fd < 0)
        return MA_E_NOTFOUND;
    (void)close(fd);
    const int len = cap > BUFSIZ ? BUFSIZ : (int)cap;
    const int rc = EVP_read_pw_string_min(out, 1, len, prompt, twice);
    ERR_clear_error();
    return rc == 0 ? MA_OK : MA_E_INVAL;
}
