/* SPDX-License-Identifier: Apache-2.0
 * What is measured when somebody asks: queues, files, keys, messages and the process; and the labels of what is
 * counted.
 */
#include "int.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "ma/api.h"
#include "ma/leavers.h"
#include "ma/lanes.h"
#include "ma/metrics.h"
#include "ma/oauth.h"
#include "ma/parking.h"
#include "ma/version.h"

enum { STAT_MAX = 1024 };

/* --- labels --- */

static void name_rows(const struct ma_route *rows, size_t n, const char **names)
{
    for (size_t i = 0; i < n; i++)
        names[i] = rows[i].op;
}

size_t ma_app_health_row(void)
{
    size_t api = 0, oauth = 0;
    (void)ma_api_routes(&api);
    (void)ma_oauth_routes(&oauth);
    return api + oauth;
}

/* --- the process --- */

static size_t open_descriptors(void)
{
    size_t n = 0;
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        return 0;
    while (readdir(d))
        n++;
    (void)closedir(d);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the directory itself */
}

/* The fields of /proc/self/stat behind the program's name, which may hold anything (proc(5)); field 3 is the first. */
static bool read_stat(uint64_t *ret_start_ticks, uint64_t *ret_resident_pages)
{
    enum { FIELD_START = 22, FIELD_RSS = 24 };
    char text[STAT_MAX];
    FILE *f = fopen("/proc/self/stat", "re");
    if (!f)
        return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = '\0';
    char *p = strrchr(text, ')');
    for (int field = 3; p && field <= FIELD_RSS; field++) {
        p = strchr(p + 1, ' ');
        if (p && field == FIELD_START)
            *ret_start_ticks = strtoull(p, NULL, 10);
        if (p && field == FIELD_RSS)
            *ret_resident_pages = strtoull(p, NULL, 10);
    }
    return p != NULL;
}

static double seconds_of(clockid_t id)
{
    struct timespec t = {0, 0};
    (void)clock_gettime(id, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Ticks are counted since boot, and so is CLOCK_BOOTTIME: /proc/stat may be hidden from a service. */
static double start_time(void)
{
    uint64_t start = 0, pages = 0;
    if (!read_stat(&start, &pages))
        return seconds_of(CLOCK_REALTIME);
    double age = seconds_of(CLOCK_BOOTTIME) - (double)start / (double)sysconf(_SC_CLK_TCK);
    return (double)(int64_t)((seconds_of(CLOCK_REALTIME) - age) * 100) / 100;
}

static void measure_process(const struct ma_app *app, struct ma_samples *out)
{
    uint64_t start = 0, pages = 0;
    struct rlimit files;
    ma_sample(out, MA_M_PROCESS_START, NULL, NULL, app->process_start_s);
    ma_sample(out, MA_M_PROCESS_CPU, NULL, NULL, seconds_of(CLOCK_PROCESS_CPUTIME_ID));
    ma_sample(out, MA_M_PROCESS_FDS, NULL, NULL, (double)open_descriptors());
    if (getrlimit(RLIMIT_NOFILE, &files) == 0)
        ma_sample(out, MA_M_PROCESS_MAX_FDS, NULL, NULL, (double)files.rlim_cur);
    if (read_stat(&start, &pages))
        ma_sample(out, MA_M_PROCESS_RESIDENT, NULL, NULL, (double)pages * (double)sysconf(_SC_PAGESIZE));
}

/* The rows of the API listener in the order of join_routes, then those of the health listener. */
int ma_app_metrics_new(struct ma_app *app)
{
    size_t n_api = 0, n_oauth = 0, n_health = 0;
    const struct ma_route *api = ma_api_routes(&n_api), *oauth = ma_oauth_routes(&n_oauth),
                          *health = ma_api_health_routes(&n_health);
    app->process_start_s = start_time();
    const char **names MA_CLEANUP(ma_free_p) = calloc(n_api + n_oauth + n_health, sizeof *names);
    if (!names)
        return MA_E_NOMEM;
    name_rows(api, n_api, names);
    name_rows(oauth, n_oauth, names + n_api);
    name_rows(health, n_health, names + n_api + n_oauth);
    return ma_metrics_new(names, n_api + n_oauth + n_health, &app->metrics);
}

/* --- the daemon --- */

static void measure_lanes(const struct ma_app *app, const struct ma_conf *conf, struct ma_samples *out)
{
    for (unsigned lane = MA_LANE_WRITE; lane < MA_LANE__COUNT; lane++) {
        const char *name = ma_metrics_label_value(MA_M_LANE_DEPTH, 0, lane);
        ma_sample(out, MA_M_LANE_DEPTH, name, NULL, (double)ma_lane_depth(app->lanes, (enum ma_lane)lane));
        ma_sample(out, MA_M_LANE_CAPACITY, name, NULL, (double)conf->limits.queue);
    }
}

static void measure_parked(const struct ma_app *app, struct ma_samples *out)
{
    ma_sample(out, MA_M_PARKED, NULL, NULL, (double)ma_parking_count(app->parking));
}

static void measure_file(const char *path, const char *suffix, enum ma_metric id, struct ma_samples *out)
{
    char name[4096];
    struct stat st;
    int n = snprintf(name, sizeof name, "%s%s", path, suffix);
    if (n > 0 && (size_t)n < sizeof name && stat(name, &st) == 0)
        ma_sample(out, id, NULL, NULL, (double)st.st_size);
}

static void measure_database(const char *path, struct ma_samples *out)
{
    struct statvfs fs;
    measure_file(path, "", MA_M_DB_SIZE, out);
    measure_file(path, "-wal", MA_M_WAL_SIZE, out);
    if (statvfs(path, &fs) != 0)
        return;
    ma_sample(out, MA_M_DISK_FREE, NULL, NULL, (double)fs.f_bavail * (double)fs.f_frsize);
    ma_sample(out, MA_M_DISK_SIZE, NULL, NULL, (double)fs.f_blocks * (double)fs.f_frsize);
}

static void measure_outbox(struct ma_db *db, int64_t now_ms, struct ma_samples *out)
{
    const char *names[MA_CHANNEL__COUNT];
    struct ma_outbox_count waiting[MA_CHANNEL__COUNT], dead[MA_CHANNEL__COUNT];
    for (unsigned c = 0; c < MA_CHANNEL__COUNT; c++)
        names[c] = ma_channel_name((enum ma_channel)c);
    if (ma_outbox_count(db, false, names, MA_CHANNEL__COUNT, waiting) < 0 ||
        ma_outbox_count(db, true, names, MA_CHANNEL__COUNT, dead) < 0)
        return;
    for (unsigned c = 0; c < MA_CHANNEL__COUNT; c++) {
        int64_t age = waiting[c].n ? now_ms - waiting[c].oldest_at : 0;
        ma_sample(out, MA_M_OUTBOX, names[c], "waiting", (double)waiting[c].n);
        ma_sample(out, MA_M_OUTBOX, names[c], "dead", (double)dead[c].n);
        ma_sample(out, MA_M_OUTBOX_AGE, names[c], NULL, age > 0 ? (double)age / 1000 : 0);
    }
}

static void measure_leaving(struct ma_db *db, struct ma_samples *out)
{
    int64_t n = 0;
    if (ma_leaving_count(db, &n) == MA_OK)
        ma_sample(out, MA_M_LEAVING_USERS, NULL, NULL, (double)n);
}

int ma_app_metrics_text(const struct ma_app *app, struct ma_db *reader, struct ma_buf *out)
{
    MA_CLEANUP(ma_arena_free_p) struct ma_arena *a = ma_arena_new(MA_ARENA_FIRST, MA_ARENA_MAX);
    struct ma_samples *s = a ? ma_arena_zalloc(a, sizeof *s) : NULL;
    if (!s)
        return MA_E_NOMEM;
    struct ma_conf_ref *ref = ma_app_conf(app);
    const struct ma_conf *conf = ma_conf_ref_get(ref);
    ma_sample(s, MA_M_BUILD, MA_VERSION, NULL, 1);
    ma_sample(s, MA_M_READY, NULL, NULL, ma_app_not_ready(app, reader) ? 0 : 1);
    measure_lanes(app, conf, s);
    measure_parked(app, s);
    ma_jose_measure(app->jose, a, s);
    measure_leaving(reader, s);
    measure_outbox(reader, app->clock->wall_ms(app->clock), s);
    measure_database(conf->database, s);
    measure_process(app, s);
    ma_conf_unref(ref);
    ma_metrics_write(app->metrics, s, out);
    return ma_buf_err(out);
}
