/*
 * probe: system calls that no shell tool makes alone. Prints the answer, or the errno's name.
 *
 *   probe fallocate MODE OFFSET LENGTH FILE
 *   probe seek data|hole OFFSET FILE
 *   probe map shared|private FILE    for each line of input: the first 16 bytes, now
 *   probe store TEXT FILE            into a shared mapping; then waits for the end of its input
 *   probe alarm read|again|write|sync FILE    4 KiB at the beginning, while a handled SIGALRM
 *                                    comes; again: the second read of an open file
 *   probe aio COUNT FILE             that many reads at once, without a thread for each
 *   probe truncate SIZE FILE
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

static int answer(long result)
{
	if (result < 0)
		printf("%s\n", strerrorname_np(errno));
	else
		printf("%ld\n", result);
	return 0;
}

static int open_or_die(const char *path, int flags)
{
	int fd = open(path, flags);
	if (fd < 0) {
		answer(-1);
		exit(0);
	}
	return fd;
}

static int show_map(const char *how, const char *path)
{
	int fd = open_or_die(path, O_RDWR);
	char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, strcmp(how, "shared") ? MAP_PRIVATE : MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return answer(-1);
	printf("mapped\n");
	fflush(stdout);
	while (getchar() != EOF) {
		for (int i = 0; i < 16; i++) {
			char c = ((volatile char *)at)[i];
			putchar(c >= ' ' && c < 127 ? c : '.');
		}
		putchar('\n');
		fflush(stdout);
	}
	return 0;
}

static int store(const char *text, const char *path)
{
	int fd = open_or_die(path, O_RDWR);
	char *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (at == MAP_FAILED)
		return answer(-1);
	memcpy(at, text, strlen(text));
	printf("stored\n");
	fflush(stdout);
	while (getchar() != EOF)
		;
	return 0;
}

static void came(int number)
{
	(void)number;
	printf("alarm ");
}

/* The system call by itself: no library tries it again. */
static int call_with_alarm(const char *what, const char *path)
{
	static char block[4096];
	struct sigaction handled = {.sa_handler = came, .sa_flags = SA_RESTART};
	struct itimerval soon = {.it_value = {.tv_usec = 300000}};
	int fd = open_or_die(path, !strcmp(what, "read") || !strcmp(what, "again") ? O_RDONLY : O_RDWR);
	if (!strcmp(what, "again") && pread(fd, block, sizeof block, 0) < 0)
		return answer(-1);
	sigaction(SIGALRM, &handled, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
	if (!strcmp(what, "read") || !strcmp(what, "again"))
		return answer(pread(fd, block, sizeof block, 0));
	if (!strcmp(what, "write"))
		return answer(pwrite(fd, block, sizeof block, 0));
	return answer(fsync(fd));
}

static int read_at_once(long count, const char *path)
{
	int fd = open_or_die(path, O_RDONLY | O_DIRECT);
	aio_context_t context = 0;
	if (syscall(SYS_io_setup, count, &context) != 0)
		return answer(-1);
	struct iocb *requests = calloc((size_t)count, sizeof *requests);
	char *memory = aligned_alloc(4096, (size_t)count * 4096);
	for (long i = 0; i < count; i++) {
		struct iocb *one = &requests[i];
		one->aio_fildes = (uint32_t)fd;
		one->aio_lio_opcode = IOCB_CMD_PREAD;
		one->aio_buf = (uintptr_t)(memory + i * 4096);
		one->aio_nbytes = 4096;
		one->aio_offset = i * 4096;
		if (syscall(SYS_io_submit, context, 1L, &one) != 1)
			return answer(-1);
	}
	printf("submitted\n");
	fflush(stdout);
	long good = 0;
	for (long i = 0; i < count; i++) {
		struct io_event event;
		if (syscall(SYS_io_getevents, context, 1L, 1L, &event, NULL) != 1)
			return answer(-1);
		good += event.res == 4096;
	}
	return answer(good);
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "fallocate"))
		return answer(fallocate(open_or_die(argv[5], O_RDWR), atoi(argv[2]), atoll(argv[3]), atoll(argv[4])));
	if (argc == 5 && !strcmp(argv[1], "seek"))
		return answer(lseek(open_or_die(argv[4], O_RDONLY), atoll(argv[3]), strcmp(argv[2], "data") ? SEEK_HOLE : SEEK_DATA));
	if (argc == 4 && !strcmp(argv[1], "map"))
		return show_map(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "store"))
		return store(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "alarm"))
		return call_with_alarm(argv[2], argv[3]);
	if (argc == 4 && !strcmp(argv[1], "aio"))
		return read_at_once(atol(argv[2]), argv[3]);
	if (argc == 4 && !strcmp(argv[1], "truncate"))
		return answer(ftruncate(open_or_die(argv[3], O_RDWR), atoll(argv[2])));
	fprintf(stderr, "usage: see probe.c\n");
	return 2;
}
