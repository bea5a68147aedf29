/*
 * stress: does everything to one file that a file of fixed size takes, at any position
 * and of any length, and compares with an array in memory (after fsx).
 *
 *   stress [-s SEED] [-t SECONDS] [-n OPERATIONS] [-m] [-D] [-o FILE] VOLUME
 *
 * -m  also map it shared        -D  also open it with O_DIRECT
 * -o  write what the volume has to hold at the end
 * Prints the seed. At the first difference: what and where, and the last operations.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LONGEST (3u << 20)
#define REMEMBERED 20

static uint64_t random_state;
static unsigned char *shadow, *scratch;
static off_t size;
static const char *path;
static int plain = -1, append = -1, uncached = -1;
static char history[REMEMBERED][160];
static unsigned long done;

static uint64_t pick(uint64_t below)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return (random_state * 0x2545f4914f6cdd1dull >> 11) % below;
}

static void note(const char *format, ...)
{
	va_list values;
	va_start(values, format);
	vsnprintf(history[done % REMEMBERED], sizeof history[0], format, values);
	va_end(values);
}

static void wrong(const char *format, ...)
{
	va_list values;
	va_start(values, format);
	fprintf(stderr, "stress: operation %lu: ", done);
	vfprintf(stderr, format, values);
	fprintf(stderr, "\nthe last operations:\n");
	for (unsigned long i = done < REMEMBERED ? 0 : done - REMEMBERED + 1; i <= done; i++)
		fprintf(stderr, "  %lu %s\n", i, history[i % REMEMBERED]);
	exit(1);
}

static void compare(const unsigned char *got, off_t from, size_t length, const char *how)
{
	if (memcmp(got, shadow + from, length) == 0)
		return;
	size_t first = 0, differing = 0;
	while (got[first] == shadow[from + (off_t)first])
		first++;
	for (size_t i = first; i < length; i++)
		differing += got[i] != shadow[from + (off_t)i];
	wrong("%s: byte %lld (sector %lld + %lld) is %02x, and not %02x; %zu bytes differ", how,
	      (long long)(from + (off_t)first), (long long)(from + (off_t)first) / 512,
	      (long long)(from + (off_t)first) % 512, got[first], shadow[from + (off_t)first], differing);
}

/* Mostly short, at times long; at times aligned; at times at the very end. */
static void choose(off_t *from, size_t *length)
{
	size_t most = pick(20) == 0 ? LONGEST : pick(4) == 0 ? 256 << 10 : 20000;
	if ((off_t)most > size)
		most = (size_t)size;
	*length = 1 + pick(most);
	*from = (off_t)pick((uint64_t)size - *length + 1);
	size_t align = (size_t[]){1, 1, 512, 4096}[pick(4)];
	if (align > 1) {
		*from -= *from % (off_t)align;
		*length = (*length + align - 1) / align * align;
		if (*from + (off_t)*length > size)
			*length = (size_t)(size - *from);
	} else if (pick(16) == 0) {
		*from = size - (off_t)*length;
	}
}

static void fill(size_t length)
{
	uint64_t word = pick(UINT64_MAX);
	for (size_t i = 0; i < length; i++)
		scratch[i] = (unsigned char)((word >> (i % 8 * 8)) + i / 8);
}

static int some_file(void) { return uncached >= 0 && pick(3) == 0 ? uncached : plain; }
static const char *name_of(int fd) { return fd == uncached ? "O_DIRECT" : "plain"; }

static void do_read(void)
{
	off_t from;
	size_t length;
	choose(&from, &length);
	int fd = some_file();
	size_t beyond = pick(10) == 0 ? pick(5000) : 0, expected = length;
	if (from + (off_t)(length + beyond) > size)
		expected = (size_t)(size - from);
	else
		expected = length + beyond;
	if (expected > LONGEST)
		beyond = 0, expected = length;
	note("read %s %lld + %zu", name_of(fd), (long long)from, length + beyond);
	ssize_t got = pread(fd, scratch, length + beyond, from);
	if (got < 0)
		wrong("read: %s", strerror(errno));
	if ((size_t)got != expected)
		wrong("read gave %zd bytes, and not %zu", got, expected);
	compare(scratch, from, expected, "read");
}

static void do_write(void)
{
	off_t from;
	size_t length;
	choose(&from, &length);
	int fd = some_file();
	note("write %s %lld + %zu", name_of(fd), (long long)from, length);
	fill(length);
	ssize_t put = pwrite(fd, scratch, length, from);
	if (put < 0)
		wrong("write: %s", strerror(errno));
	if ((size_t)put != length)
		wrong("write took %zd bytes of %zu", put, length);
	memcpy(shadow + from, scratch, length);
}

static void do_clear(int mode, const char *name)
{
	off_t from;
	size_t length;
	choose(&from, &length);
	note("%s %lld + %zu", name, (long long)from, length);
	if (fallocate(plain, mode | FALLOC_FL_KEEP_SIZE, from, (off_t)length) != 0)
		wrong("%s: %s", name, strerror(errno));
	memset(shadow + from, 0, length);
}

static void do_seek(void)
{
	off_t from = (off_t)pick((uint64_t)size);
	note("seek %lld", (long long)from);
	off_t data = lseek(plain, from, SEEK_DATA), hole = lseek(plain, from, SEEK_HOLE);
	if (data < 0 && errno != ENXIO)
		wrong("SEEK_DATA: %s", strerror(errno));
	off_t zeros_to = data < 0 ? size : data;
	if (zeros_to < from || zeros_to > size)
		wrong("SEEK_DATA gave %lld", (long long)data);
	for (off_t i = from; i < zeros_to; i++)
		if (shadow[i] != 0)
			wrong("SEEK_DATA gave %lld, but byte %lld is %02x", (long long)data, (long long)i, shadow[i]);
	if (hole < from || hole > size)
		wrong("SEEK_HOLE gave %lld", (long long)hole);
	if (hole < size && shadow[hole] != 0)
		wrong("SEEK_HOLE gave %lld, where there is data", (long long)hole);
}

/* A volume has the size that its table says. It is cut where zeros follow, and nowhere else; O_TRUNC
 * makes zeros of all of it. */
static void do_truncate(void)
{
	note("truncate");
	if (ftruncate(plain, size) != 0)
		wrong("ftruncate to the same size: %s", strerror(errno));
	off_t beyond = size + 1 + (off_t)pick((uint64_t)size);
	if (ftruncate(plain, beyond) == 0 || errno != EFBIG)
		wrong("ftruncate to %lld is not refused with EFBIG", (long long)beyond);
	off_t data_end = size;
	while (data_end > 0 && shadow[data_end - 1] == 0)
		data_end--;
	if (data_end > 1 && (ftruncate(plain, data_end - 1) == 0 || errno != EPERM))
		wrong("ftruncate to %lld, before the last data, is not refused with EPERM", (long long)data_end - 1);
	if (data_end > 0 && ftruncate(plain, data_end) != 0)
		wrong("ftruncate to %lld, where zeros follow: %s", (long long)data_end, strerror(errno));
	if (pick(8) != 0)
		return;
	note("open with O_TRUNC");
	int fd = open(path, O_RDWR | O_TRUNC);
	if (fd < 0)
		wrong("open with O_TRUNC: %s", strerror(errno));
	memset(shadow, 0, (size_t)size);
	struct stat found;
	if (fstat(fd, &found) != 0 || found.st_size != size)
		wrong("the size is %lld after O_TRUNC", (long long)found.st_size);
	close(fd);
}

static void do_append(void)
{
	note("append");
	if (write(append, "x", 1) >= 0 || errno != ENOSPC)
		wrong("a write behind the end is not refused with ENOSPC");
}

static void do_write_over_end(void)
{
	size_t length = 2 + pick(20000), inside = 1 + pick(length - 1);
	if ((off_t)inside > size)
		return;
	off_t from = size - (off_t)inside;
	note("write %lld + %zu, %zu of them inside", (long long)from, length, inside);
	fill(length);
	ssize_t put = pwrite(plain, scratch, length, from);
	if (put < 0)
		wrong("write across the end: %s", strerror(errno));
	if ((size_t)put != inside)
		wrong("a write across the end took %zd bytes, and not %zu", put, inside);
	memcpy(shadow + from, scratch, inside);
}

static void do_sync(void)
{
	note("sync");
	if ((pick(2) ? fsync(plain) : fdatasync(plain)) != 0)
		wrong("fsync: %s", strerror(errno));
}

static void do_map(int shared)
{
	off_t from;
	size_t length;
	choose(&from, &length);
	off_t page = from / 4096 * 4096;
	size_t mapped = length + (size_t)(from - page);
	int writes = pick(2);
	note("map %s%s %lld + %zu", shared ? "shared" : "private", writes ? ", write" : "", (long long)from, length);
	unsigned char *at = mmap(NULL, mapped, PROT_READ | PROT_WRITE, shared ? MAP_SHARED : MAP_PRIVATE, plain, page);
	if (at == MAP_FAILED)
		wrong("mmap: %s", strerror(errno));
	compare(at + (from - page), from, length, "mmap");
	if (writes) {
		fill(length);
		memcpy(at + (from - page), scratch, length);
		if (shared)
			memcpy(shadow + from, scratch, length);
		if (shared && pick(2) && msync(at, mapped, MS_SYNC) != 0)
			wrong("msync: %s", strerror(errno));
	}
	if (munmap(at, mapped) != 0)
		wrong("munmap: %s", strerror(errno));
}

static void open_all(int direct)
{
	plain = open(path, O_RDWR | (pick(8) == 0 ? O_DSYNC : 0));
	append = open(path, O_WRONLY | O_APPEND);
	if (direct)
		uncached = open(path, O_RDWR | O_DIRECT);
	if (plain < 0 || append < 0 || (direct && uncached < 0))
		wrong("open: %s", strerror(errno));
}

static void close_all(void)
{
	if (close(plain) != 0 || close(append) != 0 || (uncached >= 0 && close(uncached) != 0))
		wrong("close: %s", strerror(errno));
}

static void check_all(void)
{
	note("read all");
	for (off_t at = 0; at < size; at += LONGEST) {
		size_t length = size - at < (off_t)LONGEST ? (size_t)(size - at) : LONGEST;
		if (pread(plain, scratch, length, at) != (ssize_t)length)
			wrong("read at %lld: %s", (long long)at, strerror(errno));
		compare(scratch, at, length, "read");
	}
}

int main(int argc, char **argv)
{
	uint64_t seed = (uint64_t)time(NULL) * 1000003u ^ (uint64_t)getpid();
	unsigned long most = ~0ul;
	int seconds = 2, map_shared = 0, direct = 0, option;
	const char *keep = NULL;
	while ((option = getopt(argc, argv, "s:t:n:mDo:")) != -1)
		switch (option) {
		case 's': seed = strtoull(optarg, NULL, 0); break;
		case 't': seconds = atoi(optarg); break;
		case 'n': most = strtoul(optarg, NULL, 0); seconds = 3600; break;
		case 'm': map_shared = 1; break;
		case 'D': direct = 1; break;
		case 'o': keep = optarg; break;
		default: return 2;
		}
	if (optind + 1 != argc)
		return 2;
	path = argv[optind];
	fprintf(stderr, "stress: seed %llu\n", (unsigned long long)seed);
	random_state = seed * 2 + 1;
	struct stat found;
	if (stat(path, &found) != 0)
		wrong("stat: %s", strerror(errno));
	size = found.st_size;
	shadow = malloc((size_t)size);
	/* More than was asked for may not come; there is room to see it. */
	if (size < 4096 || shadow == NULL || posix_memalign((void **)&scratch, 4096, LONGEST + 65536) != 0)
		wrong("%lld bytes are no volume to test", (long long)size);
	open_all(direct);
	if (pread(plain, shadow, (size_t)size, 0) != size)
		wrong("the first read: %s", strerror(errno));
	time_t until = time(NULL) + seconds;
	for (done = 1; done <= most && time(NULL) < until; done++) {
		switch (pick(32)) {
		case 0: case 1: case 2: case 3: case 4: case 5: case 6: case 7: case 8: case 9: do_read(); break;
		case 10: case 11: case 12: case 13: case 14: case 15: case 16: case 17: case 18: case 19: do_write(); break;
		case 20: case 21: do_clear(FALLOC_FL_PUNCH_HOLE, "punch"); break;
		case 22: case 23: do_clear(FALLOC_FL_ZERO_RANGE, "zero"); break;
		case 24: do_seek(); break;
		case 25: do_truncate(); break;
		case 26: do_append(); break;
		case 27: do_sync(); break;
		case 28: do_write_over_end(); break;
		case 29: if (pick(4) == 0) { close_all(); open_all(direct); } break;
		default: do_map(map_shared && pick(2)); break;
		}
		if (done % 2000 == 0)
			check_all();
	}
	check_all();
	close_all();
	if (keep != NULL) {
		FILE *file = fopen(keep, "w");
		if (file == NULL || fwrite(shadow, 1, (size_t)size, file) != (size_t)size || fclose(file) != 0)
			wrong("%s: %s", keep, strerror(errno));
	}
	fprintf(stderr, "stress: %lu operations\n", done - 1);
	return 0;
}
