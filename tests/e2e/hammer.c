/*
 * hammer: one writes two pages of a volume, by system calls and through a shared mapping, and
 * looks whether all ways of reading give what was written last; two others read them.
 *
 *   hammer SECONDS VOLUME BELOW
 *
 * BELOW is the file that the volume's first two pages stand in. Prints how many rounds there were,
 * how many reads were stale and how many writes are lost; the first few in detail.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096

static unsigned long stale, lost;

static void die(const char *what)
{
	printf("hammer: %s: %s\n", what, strerror(errno));
	exit(2);
}

/* The number that stands at the beginning of a page. */
static uint64_t number_in(int fd, off_t at)
{
	uint64_t number;
	if (pread(fd, &number, sizeof number, at) != sizeof number)
		die("pread");
	return number;
}

static void see(unsigned long *count, const char *how, uint64_t expected, uint64_t seen)
{
	if (seen == expected)
		return;
	if ((*count)++ < 3)
		printf("%s: %" PRIu64 ", and not %" PRIu64 "\n", how, seen, expected);
}

static void read_all_the_time(const char *path)
{
	static char pages[2 * PAGE];
	pid_t parent = getppid();
	if (fork())
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == 1 || getppid() == parent)
		_exit(0);
	int fd = open(path, O_RDONLY);
	volatile char *map = mmap(NULL, sizeof pages, PROT_READ, MAP_SHARED, fd, 0);
	while (pread(fd, pages, sizeof pages, 0) > 0)
		if (map != MAP_FAILED)
			(void)(map[0] + map[PAGE]);
	_exit(1);
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	int fd = open(argv[2], O_RDWR), below = open(argv[3], O_RDONLY);
	if (fd < 0 || below < 0)
		die("open");
	char *map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		die("mmap");
	read_all_the_time(argv[2]);
	read_all_the_time(argv[2]);

	static uint64_t page[PAGE / sizeof(uint64_t)];
	volatile uint64_t *first = (uint64_t *)map, *second = (uint64_t *)(map + PAGE);
	uint64_t round = 0;
	for (time_t end = time(NULL) + atoi(argv[1]); time(NULL) < end;) {
		round++;
		/* Written by a call: read by one, through the mapping, and below. */
		for (unsigned i = 0; i < PAGE / sizeof *page; i++)
			page[i] = round;
		if (pwrite(fd, page, PAGE, 0) != PAGE || fsync(fd))
			die("pwrite and fsync");
		see(&stale, "read what was written", round, number_in(fd, 0));
		see(&stale, "mapped what was written", round, *first);
		/* A store beside it leaves it alone. */
		map[PAGE - 1] = (char)round;
		if (msync(map, PAGE, MS_SYNC))
			die("msync");
		see(&lost, "below, behind a store beside it", round, number_in(below, 0));
		/* Stored: read by a call at once, and below once it is synced. */
		*second = round;
		see(&stale, "read what was stored", round, number_in(fd, PAGE));
		*second = ~round;
		if (msync(map + PAGE, PAGE, MS_SYNC))
			die("msync");
		see(&lost, "stored and synced", ~round, number_in(below, PAGE));
	}
	printf("%" PRIu64 " rounds, %lu stale, %lu lost\n", round, stale, lost);
	return stale || lost || round < 20;
}
