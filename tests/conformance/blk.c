/* blk: one I/O at a time on a block device or a file, with a printable answer.
 *
 * Every sector that `fill` and `write` put down says where it came from: it
 * holds its seed and its sector number, so `runs` can print which data a
 * volume shows where, as ranges, instead of a digest that only says "differs".
 *
 *   blk fill  FILE SECTORS SEED        make FILE: sectors 0.. of SEED (SEED 0: zeros)
 *   blk write PATH SECTOR COUNT SEED   one write request
 *   blk zero  PATH SECTOR COUNT        one write request of zeros
 *   blk read  PATH SECTOR COUNT        one read request: its runs, or the errno
 *   blk runs  PATH [SECTOR COUNT]      the whole of PATH, in 64 KiB requests,
 *                                      halved around an error to the sector
 *   blk discard|zeroout PATH SECTOR COUNT
 *   blk dump  PATH SECTOR COUNT        its bytes, 16 a line; lines of zeros are left out
 *   blk flush PATH     blk size PATH
 *   blk flip  FILE BYTE                invert one byte of a plain file
 *   blk serve SECONDS                  one of these a line of input; after its answer a line of \1,
 *                                      or of \2 where it took longer and was killed
 *
 * PATH may be fd:N, a descriptor that the caller left open.
 *
 * Requests use O_DIRECT, so no page cache stands between the caller and the
 * volume. Sectors are 512 bytes. Build: cc -O2 -static -o blk blk.c
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SECTOR = 512, STEP = 128 };

struct stamp { uint32_t magic, seed; uint64_t sector; };
static const uint32_t MAGIC = 0x53464d44; /* "DMFS" */

static void stamp(void *to, uint32_t seed, uint64_t sector)
{
	struct stamp s = { MAGIC, seed, sector };
	for (int i = 0; i < SECTOR; i += sizeof s)
		memcpy((char *)to + i, &s, sizeof s);
}

static void fill(char *buf, uint64_t sector, uint64_t count, uint32_t seed)
{
	for (uint64_t i = 0; i < count; i++)
		if (seed)
			stamp(buf + i * SECTOR, seed, sector + i);
		else
			memset(buf + i * SECTOR, 0, SECTOR);
}

static const char *name(int e)
{
	static char other[32];
	switch (e) {
	case EIO: return "EIO";
	case EINVAL: return "EINVAL";
	case ENOSPC: return "ENOSPC";
	case EROFS: return "EROFS";
	case EPERM: return "EPERM";
	case EBADF: return "EBADF";
	case EILSEQ: return "EILSEQ";
	case ENODATA: return "ENODATA";
	case ENXIO: return "ENXIO";
	case EOPNOTSUPP: return "EOPNOTSUPP";
	case EACCES: return "EACCES";
	case EBUSY: return "EBUSY";
	case EFBIG: return "EFBIG";
	case EAGAIN: return "EAGAIN";
	case ENOENT: return "ENOENT";
	case ENODEV: return "ENODEV";
	case EINTR: return "EINTR";
	case ETIMEDOUT: return "ETIMEDOUT";
	case ENOTCONN: return "ENOTCONN";
	case EISDIR: return "EISDIR";
	case EREMOTEIO: return "EREMOTEIO";
	}
	snprintf(other, sizeof other, "errno %d", e);
	return other;
}

/* a run of sectors that continue one another */
static struct run { enum { NONE, ZERO, SEED, DATA, FAIL } kind; uint64_t at, count, from; uint32_t seed; uint64_t hash; int err; } run;

static void flush_run(void)
{
	if (!run.count)
		return;
	printf("  %6" PRIu64 " +%-6" PRIu64 " ", run.at, run.count);
	switch (run.kind) {
	case ZERO: puts("zero"); break;
	case SEED: printf("%u:%" PRIu64 "\n", run.seed, run.from); break;
	case DATA: printf("data %016" PRIx64 "\n", run.hash); break;
	case FAIL: puts(name(run.err)); break;
	default: break;
	}
	run.count = 0;
}

static uint64_t fnv(uint64_t h, const unsigned char *p, int n)
{
	while (n--)
		h = (h ^ *p++) * 0x100000001b3ull;
	return h;
}

static void add_sector(uint64_t at, const char *p, int err)
{
	struct run next = { .at = at, .count = 1, .err = err };
	static const char zeros[SECTOR];
	char want[SECTOR];
	struct stamp s;
	if (err) {
		next.kind = FAIL;
	} else if (!memcmp(p, zeros, SECTOR)) {
		next.kind = ZERO;
	} else {
		memcpy(&s, p, sizeof s);
		stamp(want, s.seed, s.sector);
		next.kind = s.magic == MAGIC && !memcmp(p, want, SECTOR) ? SEED : DATA;
		next.seed = s.seed;
		next.from = s.sector;
	}
	if (run.count && run.kind == next.kind &&
	    (next.kind == ZERO || next.kind == DATA || (next.kind == FAIL && run.err == err) ||
	     (next.kind == SEED && run.seed == next.seed && run.from + run.count == next.from))) {
		run.count++;
	} else {
		flush_run();
		run = next;
		run.hash = 0xcbf29ce484222325ull;
	}
	if (next.kind == DATA)
		run.hash = fnv(run.hash, (const unsigned char *)p, SECTOR);
}

static char *buf;

static int must_open(const char *path, int flags)
{
	int fd;
	if (!strncmp(path, "fd:", 3)) {
		fd = atoi(path + 3);
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_DIRECT);
		return fd;
	}
	fd = open(path, flags | O_DIRECT | O_CLOEXEC);
	if (fd < 0 && errno == EINVAL)
		fd = open(path, flags | O_CLOEXEC);
	if (fd < 0) {
		printf("  open: %s\n", name(errno));
		exit(0);
	}
	return fd;
}

static uint64_t sectors_of(int fd)
{
	off_t n = lseek(fd, 0, SEEK_END);
	return n < 0 ? 0 : n / SECTOR;
}

static void answer(long rc, uint64_t count)
{
	if (rc < 0)
		printf("  %s\n", name(errno));
	else if ((uint64_t)rc != count * SECTOR)
		printf("  short: %ld of %" PRIu64 " bytes\n", rc, count * SECTOR);
	else
		puts("  ok");
}

/* Until all is read, or an error: dmfs gives what lies before a bad sector, and the error next time. */
static ssize_t read_all(int fd, void *to, size_t bytes, off_t at)
{
	size_t done = 0;
	while (done < bytes) {
		ssize_t n = pread(fd, (char *)to + done, bytes - done, at + done);
		if (n < 0)
			return n;
		if (n == 0)
			break;
		done += n;
	}
	return done;
}

/* One request; on an error halve it, so that the answer names sectors: into powers
 * of two, which are whole logical blocks of any size while they can be. A half
 * that is none (EINVAL) keeps the whole's error. */
static void read_range(int fd, uint64_t at, uint64_t count, int whole)
{
	ssize_t n = read_all(fd, buf, count * SECTOR, at * SECTOR);
	int err = n < 0 ? errno : EIO;
	if (n == (ssize_t)(count * SECTOR)) {
		for (uint64_t i = 0; i < count; i++)
			add_sector(at + i, buf + i * SECTOR, 0);
	} else if (count == 1 || (err == EINVAL && whole)) {
		for (uint64_t i = 0; i < count; i++)
			add_sector(at + i, NULL, err == EINVAL && whole ? whole : err);
	} else {
		uint64_t half = 1;
		while (half * 2 < count)
			half *= 2;
		read_range(fd, at, half, err);
		read_range(fd, at + half, count - half, err);
	}
}

static int one(int argc, char **argv)
{
	const char *verb = argv[1], *path = argv[2];
	uint64_t a = argc > 3 ? strtoull(argv[3], 0, 0) : 0;
	uint64_t b = argc > 4 ? strtoull(argv[4], 0, 0) : 0;
	uint32_t c = argc > 5 ? strtoul(argv[5], 0, 0) : 0;
	uint64_t need = b > STEP ? b : STEP;
	if (posix_memalign((void **)&buf, 4096, need * SECTOR))
		return 2;
	struct stat st;

	if (!strcmp(verb, "fill")) {
		int fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600);
		if (fd < 0 || ftruncate(fd, a * SECTOR))
			return perror(path), 1;
		for (uint64_t at = 0; b && at < a; at += STEP) {
			uint64_t n = a - at < STEP ? a - at : STEP;
			fill(buf, at, n, b);
			if (pwrite(fd, buf, n * SECTOR, at * SECTOR) < 0)
				return perror(path), 1;
		}
	} else if (!strcmp(verb, "flip")) {
		unsigned char byte;
		int fd = open(path, O_RDWR);
		if (fd < 0 || pread(fd, &byte, 1, a) != 1)
			return perror(path), 1;
		byte = ~byte;
		if (pwrite(fd, &byte, 1, a) != 1 || fsync(fd))
			return perror(path), 1;
	} else if (!strcmp(verb, "write")) {
		fill(buf, a, b, c);
		answer(pwrite(must_open(path, O_WRONLY), buf, b * SECTOR, a * SECTOR), b);
	} else if (!strcmp(verb, "zero")) {
		memset(buf, 0, b * SECTOR);
		answer(pwrite(must_open(path, O_WRONLY), buf, b * SECTOR, a * SECTOR), b);
	} else if (!strcmp(verb, "read")) {
		ssize_t n = read_all(must_open(path, O_RDONLY), buf, b * SECTOR, a * SECTOR);
		if (n != (ssize_t)(b * SECTOR)) {
			answer(n, b);
		} else {
			for (uint64_t i = 0; i < b; i++)
				add_sector(a + i, buf + i * SECTOR, 0);
			flush_run();
		}
	} else if (!strcmp(verb, "dump")) {
		ssize_t n = pread(must_open(path, O_RDONLY), buf, b * SECTOR, a * SECTOR);
		for (ssize_t at = 0; at < n; at += 16) {
			static const char zeros[16];
			if (!memcmp(buf + at, zeros, 16))
				continue;
			printf("  %4" PRIu64 " +%-3zd ", a + at / SECTOR, at % SECTOR);
			for (int i = 0; i < 16; i++)
				printf(" %02x", (unsigned char)buf[at + i]);
			printf("  ");
			for (int i = 0; i < 16; i++)
				putchar(buf[at + i] > 32 && buf[at + i] < 127 ? buf[at + i] : '.');
			putchar('\n');
		}
		if (n != (ssize_t)(b * SECTOR))
			answer(n, b);
	} else if (!strcmp(verb, "runs")) {
		int fd = must_open(path, O_RDONLY);
		uint64_t end = argc > 4 ? a + b : sectors_of(fd);
		for (uint64_t at = a; at < end; at += STEP)
			read_range(fd, at, end - at < STEP ? end - at : STEP, 0);
		flush_run();
	} else if (!strcmp(verb, "discard") || !strcmp(verb, "zeroout")) {
		int fd = must_open(path, O_RDWR), rc;
		uint64_t range[2] = { a * SECTOR, b * SECTOR };
		int zero = verb[0] == 'z';
		if (!fstat(fd, &st) && S_ISBLK(st.st_mode))
			rc = ioctl(fd, zero ? BLKZEROOUT : BLKDISCARD, range);
		else
			rc = fallocate(fd, FALLOC_FL_KEEP_SIZE | (zero ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE), range[0], range[1]);
		answer(rc < 0 ? -1 : (long)(b * SECTOR), b);
	} else if (!strcmp(verb, "flush")) {
		answer(fsync(must_open(path, O_RDWR)), 0);
	} else if (!strcmp(verb, "size")) {
		printf("  %" PRIu64 "\n", sectors_of(must_open(path, O_RDONLY)));
	} else {
		fprintf(stderr, "blk: no verb '%s'\n", verb);
		return 2;
	}
	return 0;
}

static void interrupt(int signal) { (void)signal; }

/* Each in a process of its own, as one that waits can only be left behind. */
static int serve(unsigned seconds)
{
	static char line[8192];
	struct sigaction action = { .sa_handler = interrupt };
	sigaction(SIGALRM, &action, NULL);
	while (fgets(line, sizeof line, stdin)) {
		char *words[16] = { "blk" };
		int n = 1, status;
		for (char *word = strtok(line, " \n"); word && n < 15; word = strtok(NULL, " \n"))
			words[n++] = word;
		pid_t child = fork();
		if (!child) {
			int rc = n < 3 ? 2 : one(n, words);
			fflush(stdout);
			_exit(rc);
		}
		alarm(seconds);
		int hangs = waitpid(child, &status, 0) != child;
		alarm(0);
		if (hangs) {
			kill(child, SIGKILL);
			for (int i = 0; i < 20 && !waitpid(child, &status, WNOHANG); i++)
				usleep(50000);
		}
		printf("%c\n", hangs ? 2 : 1);
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fputs("usage: blk VERB PATH [...]\n", stderr);
		return 2;
	}
	return strcmp(argv[1], "serve") ? one(argc, argv) : serve(atoi(argv[2]));
}
