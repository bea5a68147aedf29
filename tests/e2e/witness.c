/*
 * witness: writes to a file until whoever serves it dies, and knows afterwards what it was
 * promised.
 *
 *   witness -b BASE -k KNOWN [-n THREADS] [-t SECONDS] [-w WRITES] [-o HOW] FILE
 *   witness -b BASE -k KNOWN -c FILE
 *
 * -b  what FILE held at first
 * -k  what is known of the writes to it so far; without that file, there were none
 * -t, -w  ends by itself then (default: after 30 seconds)
 * -o  plain (with fsync(2), the default), direct, dsync, or mixed: each thread in another way
 * -c  compares: each sector holds the last write to it that was answered, or one that was
 *     begun later, and where there was none, what is in BASE. KNOWN is then what was found.
 *
 * A write puts a stamp in each of its sectors: who, which write, which sector. At any time a
 * sector is read or written by one thread only, so that it is known what a read has to give;
 * chunks and pages are everybody's.
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
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u
#define MOST 256u       /* sectors of a request */
#define UNFLUSHED 16u   /* writes of a thread before a flush */
#define PIECE 2048u     /* sectors, when all are read */

struct known {
	uint32_t flushed, answered, begun; /* numbers of writes; 0: BASE */
};
static struct known *known;
static unsigned char *base;
static char *busy;
static uint32_t sectors, last_write, self;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of all these */
static const char *path, *how = "plain";
static atomic_int stop, failures;
static atomic_ulong writes, flushes, reads;
static unsigned long most_writes = ~0ul;

static uint64_t next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull >> 16;
}

static void stamp(unsigned char *at, uint32_t sector, uint32_t write)
{
	uint32_t head[4] = {0x7374616d, self, write, sector};
	uint64_t state = ((uint64_t)self << 32 | sector) ^ (uint64_t)write << 17 ^ 0x9e3779b97f4a7c15ull;
	memcpy(at, head, sizeof head);
	for (unsigned i = sizeof head; i < SECTOR; i += 8) {
		uint64_t word = next(&state);
		memcpy(at + i, &word, 8);
	}
}

/* The number of the write that is there; 0: what BASE has; -1: nothing of the kind. */
static int64_t found_in(const unsigned char *got, uint32_t sector)
{
	unsigned char want[SECTOR];
	uint32_t head[4];
	if (memcmp(got, base + (size_t)sector * SECTOR, SECTOR) == 0)
		return 0;
	memcpy(head, got, sizeof head);
	if (head[0] != 0x7374616d || head[1] != self)
		return -1;
	stamp(want, sector, head[2]);
	return memcmp(got, want, SECTOR) == 0 ? (int64_t)head[2] : -1;
}

static int64_t check(const unsigned char *got, uint32_t sector, uint32_t least, uint32_t most, const char *when)
{
	int64_t found = found_in(got, sector);
	if (found >= least && found <= most)
		return found;
	if (atomic_fetch_add(&failures, 1) >= 10)
		return -1;
	uint32_t head[4];
	memcpy(head, got, sizeof head);
	fprintf(stderr, "witness: %s: sector %u ", when, sector);
	if (found >= 0)
		fprintf(stderr, "holds write %lld", (long long)found);
	else if (head[0] == 0x7374616d && head[1] == self)
		fprintf(stderr, "holds write %u of sector %u", head[2], head[3]);
	else
		fprintf(stderr, "holds something else, %08x %08x ...", head[0], head[1]);
	fprintf(stderr, ", and not %u to %u (flushed: %u)\n", least, most, known[sector].flushed);
	return -1;
}

static int is_gone(int error) { return error == ENOTCONN || error == ECONNABORTED; }

/* An error is none where nobody serves the file any more. */
static void failed(const char *what, int error)
{
	atomic_store(&stop, 1);
	if (is_gone(error) || (open(path, O_RDONLY) < 0 && is_gone(errno)))
		return;
	fprintf(stderr, "witness: %s: %s\n", what, strerror(error));
	atomic_fetch_add(&failures, 1);
}

/* Some sectors that nobody else has in hand, from `*first` on. */
static unsigned take(uint64_t *state, uint32_t *first)
{
	for (;;) {
		unsigned count = 1 + next(state) % (next(state) % 5 ? 20 : MOST);
		uint32_t from = next(state) % (sectors - count + 1);
		if (next(state) % 4 == 0) {
			count = (count + 7) / 8 * 8;
			from = from / 8 * 8;
			if (from + count > sectors)
				continue;
		}
		pthread_mutex_lock(&mutex);
		if (memchr(busy + from, 1, count) == NULL) {
			memset(busy + from, 1, count);
			*first = from;
			return count; /* with the mutex */
		}
		pthread_mutex_unlock(&mutex);
	}
}

struct range {
	uint32_t first, count, write;
};

static void write_some(int fd, uint64_t *state, unsigned char *buffer, struct range *done, int durable)
{
	uint32_t first;
	unsigned count = take(state, &first);
	uint32_t number = ++last_write;
	for (unsigned i = 0; i < count; i++)
		known[first + i].begun = number;
	pthread_mutex_unlock(&mutex);
	for (unsigned i = 0; i < count; i++)
		stamp(buffer + i * SECTOR, first + i, number);
	ssize_t put = pwrite(fd, buffer, count * SECTOR, (off_t)first * SECTOR);
	int error = errno;
	pthread_mutex_lock(&mutex);
	memset(busy + first, 0, count);
	for (unsigned i = 0; put > 0 && i < (size_t)put / SECTOR; i++) {
		known[first + i].answered = number;
		if (durable)
			known[first + i].flushed = number;
	}
	pthread_mutex_unlock(&mutex);
	*done = (struct range){first, put > 0 ? (uint32_t)put / SECTOR : 0, number};
	if (put != (ssize_t)(count * SECTOR))
		return failed("write", put < 0 ? error : EIO);
	if (atomic_fetch_add(&writes, 1) + 1 >= most_writes)
		atomic_store(&stop, 1);
}

static void read_some(int fd, uint64_t *state, unsigned char *buffer)
{
	uint32_t first;
	unsigned count = take(state, &first);
	pthread_mutex_unlock(&mutex);
	ssize_t got = pread(fd, buffer, count * SECTOR, (off_t)first * SECTOR);
	int error = errno;
	for (unsigned i = 0; got > 0 && i < (size_t)got / SECTOR; i++)
		if (check(buffer + i * SECTOR, first + i, known[first + i].begun, known[first + i].begun, "a read") < 0)
			atomic_store(&stop, 1);
	pthread_mutex_lock(&mutex);
	memset(busy + first, 0, count);
	pthread_mutex_unlock(&mutex);
	if (got != (ssize_t)(count * SECTOR))
		return failed("read", got < 0 ? error : EIO);
	atomic_fetch_add(&reads, 1);
}

static void flush(int fd, int data_only, const struct range *ranges, unsigned count)
{
	if ((data_only ? fdatasync(fd) : fsync(fd)) != 0)
		return failed("flush", errno);
	pthread_mutex_lock(&mutex);
	for (unsigned i = 0; i < count; i++)
		for (uint32_t s = ranges[i].first; s < ranges[i].first + ranges[i].count; s++)
			if (known[s].flushed < ranges[i].write)
				known[s].flushed = ranges[i].write;
	pthread_mutex_unlock(&mutex);
	atomic_fetch_add(&flushes, 1);
}

static void *thread(void *argument)
{
	unsigned which = (unsigned)(uintptr_t)argument;
	int mixed = !strcmp(how, "mixed");
	int direct = mixed ? which & 1 : !strcmp(how, "direct"), durable = mixed ? which & 2 : !strcmp(how, "dsync");
	uint64_t state;
	void *buffer;
	struct range ranges[UNFLUSHED];
	unsigned unflushed = 0;
	int fd = open(path, O_RDWR | (direct ? O_DIRECT : 0) | (durable ? O_DSYNC : 0));
	if (fd < 0)
		return failed("open", errno), NULL;
	if (getrandom(&state, sizeof state, 0) != sizeof state || posix_memalign(&buffer, 4096, MOST * SECTOR) != 0)
		abort();
	state |= 1;
	while (!atomic_load(&stop)) {
		if (next(&state) % 4 == 0) {
			read_some(fd, &state, buffer);
			continue;
		}
		write_some(fd, &state, buffer, &ranges[unflushed], durable);
		if (durable || (++unflushed < UNFLUSHED && next(&state) % 8))
			continue;
		flush(fd, which & 4, ranges, unflushed);
		unflushed = 0;
	}
	close(fd);
	free(buffer);
	return NULL;
}

/* What FILE holds: each sector is what it was promised to be. */
static void check_all(void)
{
	unsigned char *buffer = malloc(PIECE * SECTOR);
	int fd = open(path, O_RDONLY);
	if (fd < 0)
		return failed("open", errno);
	unsigned long later = 0;
	for (uint32_t first = 0; first < sectors; first += PIECE) {
		uint32_t count = sectors - first < PIECE ? sectors - first : PIECE;
		ssize_t got = pread(fd, buffer, count * SECTOR, (off_t)first * SECTOR);
		if (got != (ssize_t)(count * SECTOR))
			return failed("read", got < 0 ? errno : EIO);
		for (uint32_t s = first; s < first + count; s++) {
			struct known *k = &known[s];
			int64_t found = check(buffer + (s - first) * SECTOR, s, k->answered, k->begun, "at the end");
			later += found > k->answered;
			if (found >= 0)
				k->flushed = k->answered = k->begun = (uint32_t)found;
		}
	}
	fprintf(stderr, "witness: %u sectors are right, %lu of them of a write that was not answered\n",
		sectors - (unsigned)atomic_load(&failures), later);
	close(fd);
	free(buffer);
}

static void load(unsigned threads, int seconds)
{
	pthread_t *ids = calloc(threads, sizeof *ids);
	for (uintptr_t i = 0; i < threads; i++)
		if (pthread_create(&ids[i], NULL, thread, (void *)i) != 0)
			abort();
	for (int i = 0; i < seconds * 100 && !atomic_load(&stop); i++)
		usleep(10000);
	atomic_store(&stop, 1);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(ids[i], NULL);
	free(ids);
	fprintf(stderr, "witness: %lu writes, %lu flushes, %lu reads\n", atomic_load(&writes), atomic_load(&flushes),
		atomic_load(&reads));
}

static void read_base(const char *file)
{
	FILE *in = fopen(file, "r");
	struct stat found;
	if (in == NULL || fstat(fileno(in), &found) != 0)
		perror(file), exit(2);
	sectors = (uint32_t)(found.st_size / SECTOR);
	base = malloc((size_t)sectors * SECTOR);
	if (sectors < MOST || fread(base, SECTOR, sectors, in) != sectors)
		fprintf(stderr, "witness: %s can't be read, or is too small\n", file), exit(2);
	fclose(in);
}

static void read_known(const char *file)
{
	FILE *in = fopen(file, "r");
	if (in == NULL) {
		if (getrandom(&self, sizeof self, 0) != sizeof self)
			abort();
		return;
	}
	if (fread(&self, sizeof self, 1, in) != 1 || fread(&last_write, sizeof last_write, 1, in) != 1 ||
	    fread(known, sizeof *known, sectors, in) != sectors)
		fprintf(stderr, "witness: %s is damaged\n", file), exit(2);
	fclose(in);
}

static void write_known(const char *file)
{
	FILE *out = fopen(file, "w");
	if (out == NULL || fwrite(&self, sizeof self, 1, out) != 1 ||
	    fwrite(&last_write, sizeof last_write, 1, out) != 1 ||
	    fwrite(known, sizeof *known, sectors, out) != sectors || fclose(out) != 0)
		perror(file), exit(2);
}

int main(int argc, char **argv)
{
	const char *base_file = NULL, *known_file = NULL;
	int checks = 0, option, seconds = 30, threads = 8;
	while ((option = getopt(argc, argv, "b:k:n:t:w:o:c")) != -1)
		switch (option) {
		case 'b': base_file = optarg; break;
		case 'k': known_file = optarg; break;
		case 'n': threads = atoi(optarg); break;
		case 't': seconds = atoi(optarg); break;
		case 'w': most_writes = strtoul(optarg, NULL, 0); break;
		case 'o': how = optarg; break;
		case 'c': checks = 1; break;
		default: return 2;
		}
	if (optind + 1 != argc || base_file == NULL || known_file == NULL)
		return 2;
	path = argv[optind];
	read_base(base_file);
	known = calloc(sectors, sizeof *known);
	busy = calloc(sectors, 1);
	read_known(known_file);
	if (checks)
		check_all();
	else
		load((unsigned)threads, seconds);
	write_known(known_file);
	return atomic_load(&failures) != 0;
}
