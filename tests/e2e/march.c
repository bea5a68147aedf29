/*
 * march: writes a file record by record, each when the one before it is answered, round after
 * round; so whoever makes a copy of it at one moment has all of them up to some write.
 *
 *   march FILE        until it is killed
 *   march -c FILE     prints the number of the last write that is there; or what is wrong
 *
 * A record is 41 sectors, so that it begins and ends within blocks and chunks. Each of its
 * sectors begins with the number of the write.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u
#define RECORD (41 * SECTOR)

static int march(int fd, uint64_t records)
{
	char record[RECORD] = {0};
	for (uint64_t n = 0;; n++) {
		uint64_t number = n + 1;
		for (unsigned at = 0; at < RECORD; at += SECTOR)
			memcpy(record + at, &number, sizeof number);
		if (pwrite(fd, record, RECORD, (off_t)(n % records * RECORD)) != RECORD)
			return fprintf(stderr, "march: write %llu: %s\n", (unsigned long long)number, strerror(errno)), 1;
	}
}

static int check(int fd, uint64_t records)
{
	char record[RECORD];
	uint64_t *found = calloc(records, sizeof *found), last = 0;
	for (uint64_t i = 0; i < records; i++) {
		if (pread(fd, record, RECORD, (off_t)(i * RECORD)) != RECORD)
			return fprintf(stderr, "march: read: %s\n", strerror(errno)), 1;
		memcpy(&found[i], record, sizeof found[i]);
		for (unsigned at = SECTOR; at < RECORD; at += SECTOR)
			if (memcmp(record, record + at, sizeof *found) != 0)
				return printf("record %llu is torn in its sector %u\n", (unsigned long long)i, at / SECTOR), 1;
		if (found[i] > last)
			last = found[i];
	}
	for (uint64_t i = 0; i < records; i++) {
		uint64_t want = last > i ? (last - i - 1) / records * records + i + 1 : 0;
		if (found[i] != want)
			return printf("record %llu has write %llu, and not %llu, though %llu is there\n",
				      (unsigned long long)i, (unsigned long long)found[i],
				      (unsigned long long)want, (unsigned long long)last), 1;
	}
	printf("%llu\n", (unsigned long long)last);
	return 0;
}

int main(int argc, char **argv)
{
	int checks = argc == 3 && !strcmp(argv[1], "-c");
	if (argc != 2 + checks)
		return 2;
	int fd = open(argv[1 + checks], checks ? O_RDONLY : O_RDWR);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) != 0)
		return perror(argv[1 + checks]), 1;
	return (checks ? check : march)(fd, (uint64_t)st.st_size / RECORD);
}
