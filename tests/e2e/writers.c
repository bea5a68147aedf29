/*
 * writers: many threads write one file at once, each in a region of its own, and
 * know afterwards what the file has to hold.
 *
 *   writers [-n THREADS] [-t SECONDS] [-y] [-e] [-b BACKING] [-a] FILE
 *
 * -y  sync after every 16 writes
 * -e  an error ends the threads and is none: whoever serves FILE is stopped meanwhile
 * -b  look at BACKING at the end, not at FILE (the same bytes, below)
 * -a  all writes that were answered have to be there, not only those that were synced
 *
 * A block of 4096 bytes holds its number, a count of the writes to it, and a pattern
 * made of both. What is found has to be the last answered (synced) version or one that
 * was begun later. Writes of a part of a block, at any byte, put in a version, too.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096u
#define MOST_BLOCKS 8u /* of one write */

static const char *path;
static unsigned threads = 64, blocks_each;
static int syncs, errors_end, want_answered, seconds = 5;
static atomic_int stop;
static atomic_ulong writes, failures;

struct version {
	uint32_t begun, answered, synced;
};
static struct version *versions;

static void pattern(unsigned char *at, uint64_t block, uint32_t version)
{
	uint64_t word = (block << 32 | version) * 0x9e3779b97f4a7c15ull | 1;
	memcpy(at, &block, 8);
	memcpy(at + 8, &version, 4);
	for (unsigned i = 12; i < BLOCK; i++) {
		at[i] = (unsigned char)(word >> 56);
		word = word * 6364136223846793005ull + block;
	}
}

/* 0: holds this version; else the number of the first byte that differs, plus 1. */
static unsigned differs(const unsigned char *got, uint64_t block, uint32_t version)
{
	unsigned char want[BLOCK];
	if (version == 0)
		memset(want, 0, BLOCK);
	else
		pattern(want, block, version);
	for (unsigned i = 0; i < BLOCK; i++)
		if (got[i] != want[i])
			return i + 1;
	return 0;
}

static int check(const unsigned char *got, uint64_t block, uint32_t least, uint32_t most, const char *when)
{
	uint32_t found;
	memcpy(&found, got + 8, 4);
	unsigned first = differs(got, block, found);
	if (found >= least && found <= most && first == 0)
		return 0;
	/* A write that was never answered may be there in part. */
	if (most > least && found >= least && found <= most && errors_end)
		return 0;
	atomic_fetch_add(&failures, 1);
	fprintf(stderr, "writers: %s: block %llu (sector %llu) holds version %u%s, and not %u to %u\n", when,
		(unsigned long long)block, (unsigned long long)block * (BLOCK / 512), found,
		first ? ", damaged" : "", least, most);
	return -1;
}

static int gave_up(const char *what, int error)
{
	atomic_store(&stop, 1);
	if (errors_end)
		return -1;
	fprintf(stderr, "writers: %s: %s\n", what, strerror(error));
	atomic_fetch_add(&failures, 1);
	return -1;
}

static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

/* All of it, in pieces that may lie at any byte. */
static int put(int fd, const unsigned char *data, size_t length, off_t at, uint32_t *state)
{
	while (length > 0) {
		size_t piece = next(state) % 4 ? length : 1 + next(state) % length;
		ssize_t done = pwrite(fd, data, piece, at);
		if (done <= 0)
			return gave_up("write", done < 0 ? errno : ENOSPC);
		data += done;
		at += done;
		length -= (size_t)done;
	}
	return 0;
}

static int one_write(int fd, uint64_t first, uint32_t *state, unsigned char *buffer)
{
	unsigned count = 1 + next(state) % MOST_BLOCKS;
	uint64_t from = next(state) % (blocks_each - count + 1) + first;
	for (unsigned i = 0; i < count; i++)
		pattern(buffer + i * BLOCK, from + i, ++versions[from + i].begun);
	if (put(fd, buffer, count * BLOCK, (off_t)from * BLOCK, state) != 0)
		return -1;
	for (unsigned i = 0; i < count; i++)
		versions[from + i].answered = versions[from + i].begun;
	atomic_fetch_add(&writes, 1);
	if (next(state) % 4)
		return 0;
	ssize_t got = pread(fd, buffer, count * BLOCK, (off_t)from * BLOCK);
	if (got != (ssize_t)(count * BLOCK))
		return gave_up("read", got < 0 ? errno : EIO);
	for (unsigned i = 0; i < count; i++)
		if (check(buffer + i * BLOCK, from + i, versions[from + i].begun, versions[from + i].begun, "read back") != 0) {
			atomic_store(&stop, 1);
			return -1;
		}
	return 0;
}

static void *writer(void *argument)
{
	uint64_t first = (uintptr_t)argument * blocks_each;
	uint32_t state = (uint32_t)(uintptr_t)argument * 2654435761u + 12345;
	unsigned char *buffer = malloc(MOST_BLOCKS * BLOCK);
	int fd = open(path, O_RDWR);
	if (fd < 0) {
		gave_up("open", errno);
		return NULL;
	}
	for (unsigned long i = 1; !atomic_load(&stop); i++) {
		if (one_write(fd, first, &state, buffer) != 0)
			break;
		if (!syncs || i % 16 != 0)
			continue;
		if (fsync(fd) != 0) {
			gave_up("fsync", errno);
			break;
		}
		for (unsigned b = 0; b < blocks_each; b++)
			versions[first + b].synced = versions[first + b].answered;
	}
	close(fd);
	free(buffer);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *backing = NULL;
	int option;
	while ((option = getopt(argc, argv, "n:t:yeb:a")) != -1)
		switch (option) {
		case 'n': threads = (unsigned)atoi(optarg); break;
		case 't': seconds = atoi(optarg); break;
		case 'y': syncs = 1; break;
		case 'e': errors_end = 1; break;
		case 'b': backing = optarg; break;
		case 'a': want_answered = 1; break;
		default: return 2;
		}
	if (optind + 1 != argc)
		return 2;
	path = argv[optind];
	struct stat found;
	if (stat(path, &found) != 0)
		return perror(path), 1;
	blocks_each = (unsigned)(found.st_size / BLOCK / threads);
	if (blocks_each < MOST_BLOCKS)
		return fprintf(stderr, "writers: %s is too small\n", path), 1;
	versions = calloc((size_t)threads * blocks_each, sizeof *versions);
	pthread_t *ids = calloc(threads, sizeof *ids);
	for (uintptr_t i = 0; i < threads; i++)
		if (pthread_create(&ids[i], NULL, writer, (void *)i) != 0)
			return fprintf(stderr, "writers: no thread\n"), 1;
	printf("writing\n");
	fflush(stdout);
	for (int i = 0; i < seconds * 50 && !atomic_load(&stop); i++)
		usleep(20000);
	int stopped_early = atomic_load(&stop);
	atomic_store(&stop, 1);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	if (errors_end && !stopped_early)
		return fprintf(stderr, "writers: nobody stopped them\n"), 1;

	int fd = open(backing ? backing : path, O_RDONLY);
	if (fd < 0)
		return perror(backing ? backing : path), 1;
	unsigned char block[BLOCK];
	for (uint64_t b = 0; b < (uint64_t)threads * blocks_each; b++) {
		ssize_t got = pread(fd, block, BLOCK, (off_t)(b * BLOCK));
		if (got != BLOCK)
			return fprintf(stderr, "writers: read at block %llu: %s\n", (unsigned long long)b, strerror(errno)), 1;
		struct version *v = &versions[b];
		check(block, b, errors_end && !want_answered ? v->synced : v->answered, v->begun, "at the end");
		if (atomic_load(&failures) > 20)
			break;
	}
	fprintf(stderr, "writers: %lu writes\n", atomic_load(&writes));
	return atomic_load(&failures) != 0;
}
