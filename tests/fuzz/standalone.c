/* SPDX-License-Identifier: Apache-2.0
 * Runs a fuzz target over the files of its corpus without libFuzzer: each whole, cut at every
 * power of two, and with single bytes changed. Prints the number of inputs.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX (1u << 20)
#define CHANGES_MAX 64u /* changed copies of one file */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An allocation of exactly this size, so that reading past the end is noticed. */
static int run(const uint8_t *p, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    if (!copy)
        return -1;
    if (n)
        memcpy(copy, p, n);
    (void)LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    return 0;
}

static int run_all(uint8_t *p, size_t n, unsigned *count)
{
    if (run(p, n) < 0)
        return -1;
    ++*count;
    for (size_t cut = 1; cut < n; cut *= 2, ++*count)
        if (run(p, n - cut) < 0)
            return -1;
    size_t step = n / CHANGES_MAX + 1;
    for (size_t i = 0; i < n; i += step, ++*count) {
        uint8_t was = p[i];
        p[i] = (uint8_t)(was ^ (1u << (i % 8)));
        int r = run(p, n);
        p[i] = was;
        if (r < 0)
            return -1;
    }
    return 0;
}

static int run_file(const char *path, uint8_t *buffer, unsigned *count)
{
    FILE *f = fopen(path, "rb");
    if (!f) {
        perror(path);
        return -1;
    }
    size_t n = fread(buffer, 1, INPUT_MAX, f);
    int bad = ferror(f);
    (void)fclose(f);
    return bad ? -1 : run_all(buffer, n, count);
}

static int run_directory(const char *dir, uint8_t *buffer, unsigned *files, unsigned *count)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, NULL, alphasort);
    if (n < 0) {
        perror(dir);
        return -1;
    }
    int r = 0;
    for (int i = 0; i < n; i++) {
        char path[4096];
        struct stat st;
        int len = snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        if (r == 0 && len > 0 && (size_t)len < sizeof path && stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
            r = run_file(path, buffer, count);
            ++*files;
        }
        free(names[i]);
    }
    free(names);
    return r;
}

int main(int argc, char **argv)
{
    unsigned files = 0;
    unsigned count = 0;
    uint8_t *buffer = malloc(INPUT_MAX);
    if (!buffer || argc < 2) {
        (void)fprintf(stderr, "usage: %s CORPUS...\n", argv[0]);
        free(buffer);
        return 2;
    }
    int r = 0;
    for (int i = 1; i < argc && r == 0; i++)
        r = run_directory(argv[i], buffer, &files, &count);
    free(buffer);
    (void)printf("%u files, %u inputs\n", files, count);
    return r == 0 && files > 0 ? 0 : 1;
}
