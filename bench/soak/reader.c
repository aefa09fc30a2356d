// reader SECONDS PROCESSES LAZY ORIGINAL STATS SEED: so many processes read files of LAZY at random, whole, in pieces and
// through memory maps, and compare each byte with the same file of ORIGINAL. The page cache is thrown away half of the
// time, so that reads go on reaching the file system. A read that fails (EIO) is counted and may be tried again; bytes
// that differ, and names, sizes, modes or times that do, are what must never be. STATS is one line of numbers, renewed
// twice a second: opens bytes errors differences longest(ms).
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIECE (256 << 10)

struct stats {
  unsigned long long opens, bytes, errors, differences, longest;
};

static struct stats *stats;
static char **names;
static size_t count, room, prefix;
static const char *original;
static uint64_t state;
static sigjmp_buf broken;
static char one[PIECE], two[PIECE];

static uint64_t next(void) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return state;
}

static uint64_t milliseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000ull + now.tv_nsec / 1000000;
}

static int add(const char *path, const struct stat *info, int type, struct FTW *walk) {
  (void)info, (void)walk;
  if (type == FTW_F || type == FTW_D || type == FTW_SL) {
    if (count == room) names = realloc(names, (room = room * 2 + 64) * sizeof *names);
    names[count++] = strdup(path + prefix);
  }
  return 0;
}

static void differs(const char *name, const char *what, long long at) {
  __sync_fetch_and_add(&stats->differences, 1);
  dprintf(2, "DIFFERENCE %s: %s at %lld (errno %d)\n", name, what, at, errno);
}

// Gone with the process that served it: nothing to count.
static void failed(void) {
  if (errno == EIO) __sync_fetch_and_add(&stats->errors, 1);
  usleep(20000);
}

// No answer about the content.
static int no_answer(void) { return errno == EIO || errno == ENOTCONN || errno == ECONNABORTED; }

static void compare(const char *name, int ours, int theirs, off_t from, off_t to) {
  while (from < to) {
    size_t want = to - from < PIECE ? to - from : PIECE;
    ssize_t got = pread(ours, one, want, from);
    if (got < 0 && no_answer()) return failed();
    if (got <= 0) return differs(name, "read", from);
    if (pread(theirs, two, got, from) != got) abort();
    if (memcmp(one, two, got)) return differs(name, "content", from);
    __sync_fetch_and_add(&stats->bytes, got);
    from += got;
  }
}

static void on_bus(int number) {
  (void)number;
  siglongjmp(broken, 1);
}

static void compare_mapped(const char *name, int ours, int theirs, off_t from, off_t to) {
  size_t length = to - from;
  char *map = mmap(NULL, length, PROT_READ, MAP_PRIVATE, ours, from);
  if (map == MAP_FAILED) return no_answer() ? failed() : differs(name, "mmap", from);
  if (sigsetjmp(broken, 1)) {
    errno = EIO;
    failed();
  } else {
    if (pread(theirs, two, length, from) != (ssize_t)length) abort();
    if (memcmp(map, two, length)) differs(name, "mapped content", from);
    __sync_fetch_and_add(&stats->bytes, length);
  }
  munmap(map, length);
}

static void look(const char *name) {
  char here[4096], there[4096];
  struct stat a, b;
  snprintf(here, sizeof here, ".%s", name);
  snprintf(there, sizeof there, "%s%s", original, name);
  if (lstat(there, &b)) abort();
  __sync_fetch_and_add(&stats->opens, 1);
  if (lstat(here, &a)) return no_answer() ? failed() : differs(name, "lstat", -1);
  if (a.st_mode != b.st_mode) return differs(name, "mode", a.st_mode);
  if (a.st_mtime != b.st_mtime) return differs(name, "time", a.st_mtime);
  if (a.st_uid != b.st_uid || a.st_gid != b.st_gid) return differs(name, "owner", a.st_uid);
  if (!S_ISDIR(b.st_mode) && a.st_size != b.st_size) return differs(name, "size", a.st_size);
  if (S_ISLNK(b.st_mode)) {
    ssize_t length = readlink(here, one, PIECE);
    if (length < 0 && no_answer()) return failed();
    if (length != readlink(there, two, PIECE) || memcmp(one, two, length)) differs(name, "target", -1);
    return;
  }
  if (!S_ISREG(b.st_mode)) return;
  int ours = open(here, O_RDONLY | O_CLOEXEC), theirs = open(there, O_RDONLY | O_CLOEXEC);
  if (theirs < 0) abort();
  if (ours < 0) {
    no_answer() ? failed() : differs(name, "open", -1);
    close(theirs);
    return;
  }
  if (next() & 1) posix_fadvise(ours, 0, 0, POSIX_FADV_DONTNEED);
  off_t size = b.st_size, from = size ? (off_t)(next() % size) : 0;
  off_t left = size - from, most = 1 + next() % PIECE, to = from + (left < most ? left : most);
  switch (next() % 4) {
    case 0: compare(name, ours, theirs, 0, size); break;
    case 1:
      from &= ~4095ll;
      if (to - from > PIECE) to = from + PIECE;
      if (to > from) compare_mapped(name, ours, theirs, from, to);
      break;
    default: compare(name, ours, theirs, from, to);
  }
  close(ours);
  close(theirs);
}

static void write_stats(const char *path) {
  char aside[4096], text[256];
  snprintf(aside, sizeof aside, "%s.new", path);
  int length = snprintf(text, sizeof text, "%llu %llu %llu %llu %llu\n", stats->opens, stats->bytes, stats->errors,
                        stats->differences, stats->longest);
  int fd = open(aside, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || write(fd, text, length) != length || close(fd) || rename(aside, path)) abort();
}

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  uint64_t end = milliseconds() + strtoull(argv[1], NULL, 10) * 1000;
  int processes = atoi(argv[2]);
  // Stays the same directory when somebody unmounts it.
  if (chdir(argv[3])) return 5;
  original = argv[4];
  prefix = strlen(original);
  stats = mmap(NULL, sizeof *stats, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  nftw(original, add, 16, FTW_PHYS);
  if (count == 0) return 3;
  signal(SIGBUS, on_bus);
  for (int i = 0; i < processes; i++) {
    if (fork()) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    state = strtoull(argv[6], NULL, 10) * 1000003 + i + 1;
    for (int n = 0; n < 16; n++) next();
    while (milliseconds() < end) {
      uint64_t began = milliseconds();
      look(names[next() % count]);
      uint64_t took = milliseconds() - began;
      for (uint64_t seen = stats->longest; took > seen; seen = stats->longest)
        if (__sync_bool_compare_and_swap(&stats->longest, seen, took)) break;
    }
    _exit(0);
  }
  int status, bad = 0;
  for (int left = processes; left > 0;) {
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid == 0) {
      write_stats(argv[5]);
      usleep(500000);
    } else if (pid > 0) {
      left--;
      if (status != 0) bad = 1;
    }
  }
  write_stats(argv[5]);
  return bad ? 4 : stats->differences ? 1 : 0;
}
